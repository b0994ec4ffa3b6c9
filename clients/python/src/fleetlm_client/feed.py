"""A topic that stays joined as long as somebody follows it, over losses of the connection, and those who follow it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from copy import copy
from typing import Final, Generic, TypeVar

import anyio

from .errors import CLOSED, INVALID_ANSWER, FleetLMError
from .events import StatusEvent
from .following import Topic, closing
from .link import Link
from .retry import Timing
from .runs import Gap
from .tasks import Tasks
from .transport import Channel, TopicClosed

T = TypeVar("T")

AHEAD: Final = 5_000
"""So much is kept for one who is slow; then it is dropped, and he begins with what is so now."""


class Follower(Generic[T]):
    """One who follows: what he has not been given yet."""

    def __init__(self, feed: Feed[T]) -> None:
        self._feed = feed
        self._items: deque[T] = deque()
        self._is_behind = True  # he knows nothing yet
        self._failure: FleetLMError | None = None
        self._news = asyncio.Event()
        self._news.set()

    async def next(self) -> T | None:
        """What is told next; None after the end. Raises `FleetLMError` when the topic is refused."""
        while not self._items:
            if self._is_behind and self._feed.is_joined:
                self._is_behind = False
                self._items.extend(self._feed.topic.now())
                continue
            if self._failure is not None:
                raise copy(self._failure)
            if self._feed.is_over:
                return None
            self._news.clear()
            await self._news.wait()
        return self._items.popleft()

    def put(self, items: Iterable[T], *, is_join: bool) -> None:
        """Keep these for later; a join tells all there is to know."""
        self._is_behind = self._is_behind and not is_join
        if not (self._is_behind and self._feed.is_joined):
            self._items.extend(items)
        if len(self._items) > AHEAD:
            self._items.clear()
            self._is_behind = True
        self._news.set()

    def fail(self, failure: FleetLMError | None) -> None:
        """Nothing comes any more."""
        self._failure = failure
        self._news.set()

    def leave(self) -> None:
        """Follow no longer."""
        self._feed.leave(self)


class Feed(Generic[T]):
    """One topic, for as long as somebody follows it."""

    def __init__(
        self, link: Link, name: str, topic: Topic[T], timing: Timing, retry_for: float | None, tasks: Tasks
    ) -> None:
        self.topic = topic
        self.is_joined = False
        self.is_over = False
        self.channel: Channel | None = None
        """While it is joined: what there is to speak to."""
        self.joined = asyncio.Event()
        self._link = link
        self._name = name
        self._timing = timing
        self._retry_for = retry_for
        self._was_joined = False
        self._failures = 0
        self._followers: set[Follower[T]] = set()
        self._link.hold()
        self._task = tasks.spawn(self._run(), f"follow {name}")
        self._task.add_done_callback(lambda _: self._link.release())

    def follow(self) -> Follower[T]:
        """One more who follows."""
        follower: Follower[T] = Follower(self)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower[T]) -> None:
        """One less. With the last one the topic is left: this feed is over."""
        self._followers.discard(follower)
        if not self._followers:
            self.is_over = True
            self._task.cancel()

    def close(self) -> None:
        """Tell everyone that this client was closed."""
        self._end(FleetLMError(CLOSED, "This client was closed."))
        self._task.cancel()

    async def _run(self) -> None:
        began = time.monotonic()
        while True:
            try:
                await self._follow()
            except TopicClosed as closed:
                self._close(closed.reason)
                return
            except FleetLMError as error:
                if not self._survives(error, began):
                    return
                self._tell(self.topic.status(StatusEvent("offline", error)))
                await self._pause(error)
            except (KeyError, TypeError, ValueError) as error:
                self._end(FleetLMError(INVALID_ANSWER, f"The server's answer is not understood: {error!r}"))
                return

    async def _follow(self) -> None:
        """Join, and tell what comes until the topic or the connection ends, which raises."""
        channel = await self._link.join(self._name, self.topic.place())
        try:
            if self.topic.is_far_behind(channel.reply):
                return
            self._begin(channel)
            while True:
                event, payload = await channel.next()
                self._tell(self.topic.take(event, payload))
        except Gap:
            return
        finally:
            self.channel, self.is_joined = None, False
            self.joined.clear()
            await channel.leave()

    def _begin(self, channel: Channel) -> None:
        if self._was_joined:
            self._tell(self.topic.status(StatusEvent("online")))
        self._tell(self.topic.joined(channel.reply), is_join=True)
        self.channel, self.is_joined, self._was_joined = channel, True, True
        self._failures = 0
        self.joined.set()

    def _survives(self, error: FleetLMError, began: float) -> bool:
        """Whether to try again. If not, those who follow are told why."""
        reason = closing(error) if self._was_joined else None
        if reason is not None:
            self._close(reason)
        elif not (error.passing and (self._was_joined or self._has_time(began))):
            self._end(error)
        return not self.is_over

    def _has_time(self, began: float) -> bool:
        return self._retry_for is None or time.monotonic() - began < self._retry_for

    async def _pause(self, error: FleetLMError) -> None:
        self._failures += 1
        if not self._link.paces(error):
            await anyio.sleep(max(self._timing.pause(self._failures), error.retry_after or 0))

    def _tell(self, items: Iterable[T], *, is_join: bool = False) -> None:
        for follower in self._followers:
            follower.put(items, is_join=is_join)

    def _close(self, reason: str) -> None:
        self._tell(self.topic.closed(reason))
        self._end(None)

    def _end(self, failure: FleetLMError | None) -> None:
        self.is_over = True
        for follower in self._followers:
            follower.fail(failure)
