"""The outgoing side of one socket: writes never block, and a reader that falls too far behind is closed.

Under `manage.py serve` the socket's transport is at hand: a frame is made into WebSocket bytes once and the same bytes are
written to every socket. Other servers get ASGI events from a queue.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from runtime.subscriber import BEHIND_BYTES

WIRE = "fleetlm.wire"
"""The ASGI extension by which `fleetlm.server` lends a socket's transport."""

LINGER_SECONDS = 10.0


class Wire(Protocol):
    """The transport of a socket."""

    def write(self, data: bytes) -> None:
        """Write whole WebSocket frames."""

    def unsent(self) -> int:
        """Bytes that the peer has not taken yet."""

    async def room(self) -> None:
        """Return when the transport has room."""

    def abort(self) -> None:
        """Drop the connection now."""


class Outbox:
    """What a socket's channels write to. `close(code)` is called when the reader is too slow."""

    def __init__(self, wire: Wire, limit: int, too_slow: Callable[[], None]) -> None:
        self._wire = wire
        self._limit = limit
        self._too_slow = too_slow
        self._closed = False

    @staticmethod
    def frame(text: bytes) -> Any:
        """What `write` takes, of the text of a frame; the same for every socket of this kind."""
        return websocket_text(text)

    @property
    def behind(self) -> bool:
        """Whether so much waits unsent that nothing should be added that can wait."""
        return self._wire.unsent() > BEHIND_BYTES

    def write(self, frame: Any) -> None:
        """Send a frame. Never blocks, never raises."""
        if self._closed:
            return
        self._wire.write(frame)
        if self._wire.unsent() > self._limit:
            self.stop()
            self._too_slow()

    async def drained(self) -> None:
        """Return when there is room again."""
        if not self._closed:
            await self._wire.room()

    def stop(self) -> None:
        """Write nothing more."""
        self._closed = True

    def abort_later(self) -> None:
        """Drop the connection if the peer does not take its close frame."""
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._wire.abort)

    def release(self) -> None:
        """The connection is gone: hold on to nobody, so that the socket is freed at once and not by a search for cycles."""
        self.stop()
        self._too_slow = _nobody


class QueuedOutbox(Outbox):
    """The same over ASGI events, for servers that do not lend the transport."""

    def __init__(
        self, send: Callable[[dict[str, Any]], Awaitable[None]], limit: int, too_slow: Callable[[], None]
    ) -> None:
        self._send = send
        self._limit = limit
        self._too_slow = too_slow
        self._closed = False
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @staticmethod
    def frame(text: bytes) -> Any:
        """The text itself."""
        return text.decode()

    @property
    def behind(self) -> bool:
        """Likewise."""
        return self._bytes > BEHIND_BYTES

    def write(self, frame: Any) -> None:
        """Queue a frame."""
        if self._closed:
            return
        self._waiting.append(frame)
        self._bytes += len(frame)
        self._empty.clear()
        if self._bytes > self._limit:
            self.stop()
            self._too_slow()
        elif self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._waiting and not self._closed:
            text = self._waiting.popleft()
            await self._send({"type": "websocket.send", "text": text})
            self._bytes -= len(text)
        self._empty.set()

    async def drained(self) -> None:
        """Return when the queue is empty."""
        await self._empty.wait()

    def stop(self) -> None:
        """Write nothing more."""
        self._closed = True
        self._empty.set()

    def abort_later(self) -> None:
        """The server closes its own connections."""


def _nobody() -> None:
    pass


def websocket_text(text: bytes) -> bytes:
    """One unfragmented, unmasked text frame (RFC 6455, section 5.2)."""
    length = len(text)
    if length < 126:
        return b"\x81" + bytes((length,)) + text
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + text
    return b"\x81\x7f" + length.to_bytes(8, "big") + text
