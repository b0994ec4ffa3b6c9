"""One who reads a conversation: each message once and in order, whatever comes in."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Protocol

from .events import Event, MessageEvent, ResetEvent, RunEvent
from .feed import Follower
from .following import PAGE, Arrival
from .log import Log
from .records import Message, Page


class ReadPage(Protocol):
    """Reads a page of the log, however long it takes."""

    def __call__(self, *, before: int | None = None, after: int | None = None, limit: int) -> Awaitable[Page]:
        """See `AsyncConversation.history`."""


class Reader:
    """What comes over the connection is given as it comes; what is missing before it is read page by page."""

    def __init__(self, follower: Follower[Event | Arrival], page: ReadPage, log: Log, limit: int) -> None:
        self._follower = follower
        self._page = page
        self._log = log
        self._limit = limit
        self._ready: deque[Event] = deque()
        self._later: list[Event] = []
        """What comes after the pages that are still to be read."""
        self._goal = 0
        """The log is to be read up to here before anything else is given."""
        self._wants_newest = False

    async def next(self) -> Event | None:
        """The next event; None after the end. Raises `FleetLMError`."""
        while not self._ready:
            if self._wants_newest:
                await self._read_newest()
            elif self._goal > (self._log.seq or 0):
                await self._read_on()
            elif self._later:
                self._ready.extend(self._later)
                self._later = []
            else:
                item = await self._follower.next()
                if item is None:
                    return None
                await self._take(item)
        return self._ready.popleft()

    def leave(self) -> None:
        """Read no longer."""
        self._follower.leave()

    async def _take(self, item: Event | Arrival) -> None:
        if isinstance(item, Arrival):
            await self._arrive(item)
        elif isinstance(item, MessageEvent):
            self._give(item.message)
        else:
            self._ready.append(item)

    async def _arrive(self, arrival: Arrival) -> None:
        joined, messages = arrival.joined, arrival.messages
        self._ready.append(joined)
        if self._log.is_another(joined.epoch) or await self._is_beyond(joined.last_seq):
            self._reset(joined.epoch)
        self._log.epoch = joined.epoch
        if messages is None:
            self._later = [RunEvent(run) for run in joined.runs]
            self._goal = joined.last_seq
        if self._log.seq is None:
            self._log.seq = beginning(messages, joined.last_seq, self._limit)
            self._wants_newest = self._log.seq is None
        for message in messages or ():
            self._give(message)

    def _give(self, message: Message) -> None:
        if self._wants_newest:
            return
        place = self._log.take(message.seq)
        if place == "next":
            self._ready.append(MessageEvent(message))
        elif place == "gap":
            self._goal = max(self._goal, message.seq)

    def _reset(self, epoch: str) -> None:
        self._log.forget()
        self._goal = 0
        self._ready.append(ResetEvent(epoch))

    async def _is_beyond(self, last_seq: int) -> bool:
        """Whether the place to begin after is one that this log never came to."""
        seq = self._log.seq
        if seq is None or seq <= last_seq:
            return False
        return (await self._page(after=seq, limit=1)).last_seq < seq

    async def _read_on(self) -> None:
        page = await self._page(after=self._log.seq, limit=PAGE)
        if self._log.is_another(page.epoch):
            self._reset(page.epoch)
            self._wants_newest = True
            return
        if not page.messages:
            self._goal = 0  # there is nothing: it was pruned
            return
        self._log.begin(page.epoch, page.messages[0].seq - 1)
        for message in page.messages:
            self._give(message)

    async def _read_newest(self) -> None:
        page = await self._page(limit=min(max(self._limit, 1), PAGE))
        messages = list(page.messages) if self._limit else []
        older = page
        while older.has_more and len(messages) < self._limit:
            older = await self._page(before=messages[0].seq, limit=min(self._limit - len(messages), PAGE))
            messages[:0] = older.messages
        self._wants_newest = False
        self._log.begin(page.epoch, messages[0].seq - 1 if messages else page.last_seq)
        for message in messages:
            self._give(message)


def beginning(messages: Sequence[Message] | None, last_seq: int, limit: int) -> int | None:
    """The seq after which one begins who wants the newest `limit`, if that can be said from a join's messages."""
    if limit == 0 or last_seq == 0:
        return last_seq
    if not messages or messages[-1].seq != last_seq:
        return None
    if len(messages) < limit and messages[0].seq > 1:
        return None
    return messages[-limit:][0].seq - 1
