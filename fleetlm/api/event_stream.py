"""Server-Sent Events: the live conversation and the live inbox for those whose WebSockets are blocked."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.http import StreamingHttpResponse

from conversations.errors import FleetLMError, NotAMember, NotFound, TokenExpired
from fleetlm.auth.principal import Principal
from observability import metrics
from runtime.subscriber import BEHIND_BYTES

KEEPALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class EventAddress:
    """Frames of the event stream format; `id` is `epoch:seq`, which a client sends back as `Last-Event-ID`."""

    epoch: UUID | None

    def frame(self, event: str, payload: bytes, seq: int | None) -> bytes:
        """One event with one line of JSON."""
        place = b"" if seq is None else f"id: {self.epoch}:{seq}\n".encode()
        return b"event: " + event.encode() + b"\n" + place + b"data: " + payload + b"\n\n"


class EventStream:
    """A `Subscriber` whose frames are the body of one HTTP response. It ends with its token, its membership or the process."""

    def __init__(self, principal: Principal, address: EventAddress, draining: asyncio.Event) -> None:
        self.participant_id = principal.participant_id
        self.address = address
        self._expires_at = principal.expires_at
        self._draining = draining
        self._frames: list[bytes] = [b"retry: 1000\n\n"]
        self._bytes = 0
        self._ended = False
        self._wake = asyncio.Event()
        self._wake.set()
        self._room = asyncio.Event()
        self._room.set()

    def send(self, event: str, payload: Any, seq: int | None = None) -> None:
        """Write one event with a JSON-ready payload."""
        self.write(self.address.frame(event, orjson.dumps(payload), seq))

    @property
    def behind(self) -> bool:
        """Whether much of what was written has not been handed to the connection."""
        return self._bytes > BEHIND_BYTES

    def write(self, frame: bytes) -> None:
        """Take a frame; a reader that is too far behind is cut off and resumes from its last id."""
        if self._ended:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._wake.set()
        self._room.clear()
        if self._bytes > settings.FLEETLM.socket_buffer_bytes:
            metrics.SLOW_READERS_CLOSED.inc()
            self._frames.clear()
            self._ended = True

    async def drained(self) -> None:
        """Return when everything has been handed to the connection."""
        if not self._ended:
            await self._room.wait()

    def end(self, reason: str) -> None:
        """Say why, then end."""
        self._fail(NotAMember() if reason == "removed" else NotFound())

    def _fail(self, error: FleetLMError) -> None:
        self.send("error", error.as_dict())
        self._ended = True
        self._wake.set()
        self._room.set()

    def response(self, closed: Callable[[], None]) -> StreamingHttpResponse:
        """The response that carries this stream; `closed` is called once, when the response is closed."""
        self._closed = closed
        return StreamingHttpResponse(
            self,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    def close(self) -> None:
        """The response is over, whether or not its first byte was ever sent."""
        self._ended = True
        self._room.set()
        closed, self._closed = self._closed, _nothing
        closed()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        drain = asyncio.create_task(self._end_with_process())
        try:
            while True:
                chunk = await self._next_chunk()
                if chunk:
                    yield chunk
                if self._ended and not self._frames:
                    return
        finally:
            drain.cancel()

    async def _next_chunk(self) -> bytes:
        try:
            async with asyncio.timeout(min(KEEPALIVE_SECONDS, self._seconds_left())):
                await self._wake.wait()
        except TimeoutError:
            if self._seconds_left() > 0:
                return b": keep-alive\n\n"
        if self._seconds_left() <= 0 and not self._ended:
            self._fail(TokenExpired())
        chunk = b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._room.set()
        if not self._ended:
            self._wake.clear()
        return chunk

    def _seconds_left(self) -> float:
        """Until the token expires."""
        return KEEPALIVE_SECONDS if self._expires_at is None else self._expires_at - time.time()

    async def _end_with_process(self) -> None:
        await self._draining.wait()
        self._ended = True
        self._wake.set()
        self._room.set()


def _nothing() -> None:
    """Instead of what was called at the end: it knows this stream, and would keep it until a search for cycles."""
