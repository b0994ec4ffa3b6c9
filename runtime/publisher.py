"""Frames for other processes, over the channel layer: gathered for one turn of the loop, sent in one round trip.

Best effort by design: an append never waits for it and never fails by it. What is lost here is repaired from Postgres.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from observability import metrics
from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

MAX_WAITING = 20_000
"""Frames that may wait; beyond it the newest are dropped and left to repair."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Likewise for the bytes of the messages in them."""

SEND_TIMEOUT = 2.0
"""Seconds after which a round trip to Valkey is given up."""


class Publisher:
    """Sends frames to groups in the background. `send` never blocks and never raises."""

    def __init__(self, on_recovered: Callable[[], None] | None = None) -> None:
        self._on_recovered = on_recovered
        self._layer = get_channel_layer()
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._bytes = 0
        self._wake = asyncio.Event()
        self._healthy = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="publisher")

    async def stop(self) -> None:
        """Send what waits, then end."""
        if self._task is None:
            return
        await end_tasks([self._task])
        self._task = None
        if self._waiting and self._healthy:
            await self._send(self._waiting)

    @staticmethod
    def _size(message: dict[str, Any]) -> int:
        """Bytes of the messages of the log that this carries; the rest is small."""
        return sum(len(payload) for _, payload in message.get("entries", ()))

    def send(self, group: str, message: dict[str, Any]) -> None:
        """Offer one message to every process that follows `group`."""
        size = self._size(message)
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            metrics.PUBLISHES.labels("dropped").inc()
            return
        self._waiting.append((group, message))
        self._bytes += size
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting, self._bytes = self._waiting, [], 0
            await self._send(batch)

    async def _send(self, batch: list[tuple[str, dict[str, Any]]]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._layer.group_send_many(batch)
        except (RedisError, OSError, TimeoutError) as error:
            metrics.PUBLISHES.labels("failed").inc(len(batch))
            if self._healthy:
                logger.warning(
                    "Valkey cannot be reached; sockets follow Postgres until it returns: %s", error
                )
            self._healthy = False
        except Exception:  # one frame that cannot be written must not mute the process
            metrics.PUBLISHES.labels("failed").inc(len(batch))
            logger.exception("Frames could not be sent")
        else:
            metrics.PUBLISHES.labels("sent").inc(len(batch))
            if not self._healthy:
                logger.warning("Valkey is back")
                self._healthy = True
                if self._on_recovered is not None:
                    self._on_recovered()
