"""One connection of the Phoenix Channels protocol, serializer V2: `[join_ref, ref, topic, event, payload]`.

https://hexdocs.pm/phoenix/writing_a_channels_client.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Mapping
from copy import copy
from typing import Any, Final

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from .errors import INVALID_ANSWER, UNREACHABLE, FleetLMError, error_of, unreachable
from .retry import Timing
from .transport import NotOpened, TopicClosed
from .wire import encode

FRAME_BYTES: Final = 64 * 1024 * 1024
CLOSE_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 1.0

Payload = Mapping[str, Any]


class Socket:
    """An open socket with any number of topics."""

    def __init__(self, connection: ClientConnection, token: str | None, timing: Timing) -> None:
        self.token = token
        """The one it was opened with."""
        self.lost: FleetLMError | None = None
        self.close_code: int | None = None
        self.closed = asyncio.Event()
        self._connection = connection
        self._timing = timing
        self._refs = 0
        self._heard_at = time.monotonic()
        self._replies: dict[str, asyncio.Future[Payload]] = {}
        self._channels: dict[str, SocketChannel] = {}
        self._tasks = [
            asyncio.create_task(self._read(), name="fleetlm: read"),
            asyncio.create_task(self._beat(), name="fleetlm: heartbeat"),
        ]

    async def join(self, topic: str, place: Payload) -> SocketChannel:
        """See `Transport`."""
        channel = SocketChannel(self, topic, self._next_ref())
        self._channels[topic] = channel
        try:
            channel.reply = await self.ask(channel.ref, topic, "phx_join", place, ref=channel.ref)
        except BaseException as error:
            if isinstance(error, FleetLMError) and error.code != UNREACHABLE:
                self.forget(channel)  # refused
            else:
                await channel.leave()  # cancelled, or too late: the server may have joined it, or will
            raise
        return channel

    async def ask(
        self, join_ref: str | None, topic: str, event: str, payload: Payload, *, ref: str | None = None
    ) -> Payload:
        """Send an event and return the response. Raises `FleetLMError`: what the server says, or that it says nothing."""
        if self.lost is not None:
            raise copy(self.lost)
        ref = ref or self._next_ref()
        reply: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(_look)
        self._replies[ref] = reply
        asked_at = time.monotonic()
        try:
            with anyio.fail_after(self._timing.reply):
                await self._write([join_ref, ref, topic, event, payload])
                return _response(await reply)
        except TimeoutError:
            late = unreachable("The server did not answer in time.")
            if self._heard_at < asked_at:
                self._abort(late)
            raise late from None
        finally:
            self._replies.pop(ref, None)

    async def tell(self, join_ref: str, topic: str, event: str) -> None:
        """Send an event whose answer nobody waits for; does not fail."""
        with contextlib.suppress(FleetLMError), anyio.move_on_after(LEAVE_SECONDS, shield=True):
            await self._write([join_ref, self._next_ref(), topic, event, {}])

    def forget(self, channel: SocketChannel) -> None:
        """Nobody listens to this topic any more."""
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]

    async def close(self) -> None:
        """Say goodbye."""
        self._end(unreachable("The connection was closed."))
        with anyio.CancelScope(shield=True):
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._connection.close()

    def _next_ref(self) -> str:
        self._refs += 1
        return str(self._refs)

    async def _write(self, frame: list[Any]) -> None:
        try:
            await self._connection.send(encode(frame))
        except ConnectionClosed:
            raise copy(self.lost or unreachable("The connection was lost.")) from None

    async def _read(self) -> None:
        """Hand out what comes, to the end of the connection."""
        try:
            while True:
                frame = json.loads(await self._connection.recv())
                self._heard_at = time.monotonic()
                self._receive(frame)
        except ConnectionClosed:
            self.close_code = self._connection.close_code
            self._end(unreachable(f"The connection was lost (close code {self.close_code})."))
        except (ValueError, TypeError, KeyError):
            self._abort(FleetLMError(INVALID_ANSWER, "The server does not speak the Phoenix protocol."))

    def _receive(self, frame: Any) -> None:
        join_ref, ref, topic, event, payload = frame
        if event == "phx_reply":
            reply = self._replies.get(ref)
            if reply is not None and not reply.done():
                reply.set_result(payload)
            return
        channel = self._channels.get(topic)
        if channel is not None and join_ref == channel.ref:
            channel.receive(event, payload)

    async def _beat(self) -> None:
        """Ask for a sign of life now and then. Whatever comes is one: the answer may wait behind much else."""
        while self.lost is None:
            await anyio.sleep(self._timing.heartbeat)
            asked_at = time.monotonic()
            with anyio.move_on_after(self._timing.reply), contextlib.suppress(FleetLMError):
                await self._write([None, self._next_ref(), "phoenix", "heartbeat", {}])
            await anyio.sleep(asked_at + self._timing.reply - time.monotonic())
            if self._heard_at < asked_at:
                self._abort(unreachable("The connection was lost: nothing came any more."))

    def _abort(self, error: FleetLMError) -> None:
        """Drop a connection at whose other end nobody is."""
        self._end(error)
        self._connection.transport.abort()

    def _end(self, error: FleetLMError) -> None:
        if self.lost is not None:
            return
        self.lost = error
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(copy(error))
        for channel in self._channels.values():
            channel.end(error)
        self.closed.set()


class SocketChannel:
    """A topic of a socket."""

    def __init__(self, socket: Socket, topic: str, ref: str) -> None:
        self.reply: Payload = {}
        self.topic = topic
        self.ref = ref
        self._socket = socket
        self._events: deque[tuple[str, Payload]] = deque()
        self._ending: Exception | None = None
        self._news = asyncio.Event()

    async def next(self) -> tuple[str, Payload]:
        """See `Channel`."""
        while not self._events:
            if self._ending is not None:
                raise copy(self._ending)
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def push(self, event: str, payload: Payload) -> Payload:
        """Send an event and return the response. Raises `FleetLMError`."""
        return await self._socket.ask(self.ref, self.topic, event, payload)

    async def leave(self) -> None:
        """See `Channel`."""
        self._socket.forget(self)
        if self._ending is None and self._socket.lost is None:
            await self._socket.tell(self.ref, self.topic, "phx_leave")

    def receive(self, event: str, payload: Payload) -> None:
        """Take what the server has sent."""
        if event == "phx_close":
            self.end(TopicClosed(payload.get("reason") or "left"))
        elif event == "phx_error":
            self.end(unreachable("The server lost the topic."))
        else:
            self._events.append((event, payload))
            self._news.set()

    def end(self, why: Exception) -> None:
        """Nothing comes after what has come."""
        self._ending = self._ending or why
        self._news.set()


async def open_socket(url: str, token: str | None, timing: Timing) -> Socket:
    """An open socket. Raises `FleetLMError`: what the server refuses it with, or `NotOpened`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection = await connect(
            url,
            additional_headers=headers,
            open_timeout=timing.connect,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # the protocol's heartbeat does it
            compression=None,
            max_size=FRAME_BYTES,
        )
    except InvalidStatus as refused:
        raise _refusal(refused) from None
    except (OSError, TimeoutError, asyncio.TimeoutError, EOFError, WebSocketException) as error:
        raise NotOpened(
            "unreachable", f"No socket could be opened: {str(error) or 'no answer in time'}"
        ) from None
    return Socket(connection, token, timing)


def _refusal(refused: InvalidStatus) -> FleetLMError:
    status = refused.response.status_code
    with contextlib.suppress(ValueError):
        error = error_of(json.loads(refused.response.body or b""), "", status=status)
        if error.message:
            return error
    return NotOpened("unreachable", f"No socket could be opened: the answer was {status}.", status=status)


def _look(reply: asyncio.Future[Payload]) -> None:
    """Whoever asked may have failed before its answer did: then nobody looks at that."""
    if not reply.cancelled():
        reply.exception()


def _response(payload: Payload) -> Payload:
    response: Payload = payload.get("response") or {}
    if payload.get("status") != "ok":
        raise error_of(response, "The server refused without saying why.")
    return response
