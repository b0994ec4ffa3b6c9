"""The one subscriber of the channel layer in a process: it follows groups and hands what they carry to handlers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]

RETRY_SECONDS = 0.5


class Listener:
    """Follows groups of the channel layer. While Valkey is away it keeps what it is to follow and tries again."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._layer = get_channel_layer()
        self._handlers = handlers
        self._wanted: dict[str, Callable[[], Awaitable[None]] | None] = {}
        self._followed: set[str] = set()
        self._differing: dict[
            str, None
        ] = {}  # groups of which that may not be the same, in the order of their change
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._tasks.append(asyncio.create_task(self._run(), name="listener"))

    async def stop(self) -> None:
        """End, and leave every group."""
        await end_tasks(self._tasks)
        self._tasks.clear()
        await self._layer.flush()

    def follow(self, group: str, on_followed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Follow a group from as soon as Valkey allows; then `on_followed` is awaited once."""
        self._wanted[group] = on_followed
        self._differs(group)

    def unfollow(self, group: str) -> None:
        """Follow it no longer."""
        self._wanted.pop(group, None)
        self._differs(group)

    def _differs(self, group: str) -> None:
        self._differing[group] = None
        self._changed.set()

    async def _run(self) -> None:
        channel = await self._channel()
        self._tasks.append(asyncio.create_task(self._receive(channel), name="listener-receive"))
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._apply(channel)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()
            except Exception:
                logger.exception("Groups of the channel layer could not be followed")
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _channel(self) -> str:
        while True:
            try:
                return str(await self._layer.new_channel())
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _apply(self, channel: str) -> None:
        """Follow and leave what has changed: with thousands of groups it must not look at each of them."""
        while self._differing:
            group = next(iter(self._differing))
            await self._settle(group, channel)

    async def _settle(self, group: str, channel: str) -> None:
        wanted = group in self._wanted
        if wanted and group not in self._followed:
            await self._layer.group_add(group, channel)
            self._followed.add(group)
            if (on_followed := self._wanted.get(group)) is not None:
                await on_followed()
        elif not wanted and group in self._followed:
            await self._layer.group_discard(group, channel)
            self._followed.discard(group)
        if (group in self._wanted) is (group in self._followed):
            self._differing.pop(group, None)

    async def _receive(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            try:
                self._handlers[message["type"]](message)
            except Exception:  # one bad frame of another version must not deafen the process
                logger.exception("A frame of the channel layer could not be handled")
