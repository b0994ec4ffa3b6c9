"""One connection of the Phoenix Channels protocol, serializer V2: `[join_ref, ref, topic, event, payload]`.

Source: https://hexdocs.pm/phoenix/writing_a_channels_client.html
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import aiohttp
import orjson

from runtime.client.errors import ClientError, Disconnected, error_of, reason
from runtime.client.server import Server

HEARTBEAT_SECONDS: Final = 30.0
PING_SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 10.0
JOIN_SECONDS: Final = 30.0
FRAME_BYTES: Final = 64 * 1024 * 1024
TOKEN_EXPIRED: Final = 4001

Event = tuple[str, dict[str, Any]]
"""An event's name and payload."""


class Connection:
    """A socket with one joined topic at most: whoever uses it is the only one to read from it."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[Any]") -> None:
        self._socket = socket
        self._refs = 0
        self._early: deque[list[Any]] = deque()

    async def join(self, topic: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Join a topic and return the reply. Raises `ClientError`, or `Disconnected` where a retry may help."""
        ref = self._next_ref()
        await self._write([ref, ref, topic, "phx_join", payload])
        async with asyncio.timeout(JOIN_SECONDS):
            while True:
                frame = await self._read()
                if frame[1] == ref and frame[3] == "phx_reply":
                    return _response(frame[4])
                self._early.append(frame)

    async def events(self, topic: str) -> AsyncGenerator[Event, None]:
        """What the server sends on a joined topic, until the connection or the topic ends, which raises."""
        while True:
            frame = self._early.popleft() if self._early else await self._read()
            _, _, of_topic, event, payload = frame
            if of_topic != topic or event == "phx_reply":
                continue
            if event == "phx_close":
                reason = payload.get("reason") or "The server closed the topic."
                raise ClientError("closed", str(reason))
            if event == "phx_error":
                raise Disconnected("The server lost the topic.")
            yield event, payload

    async def beat(self) -> None:
        """Send the protocol's heartbeat for ever: without it a server may take the client for dead."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._write([None, self._next_ref(), "phoenix", "heartbeat", {}])

    def _next_ref(self) -> str:
        self._refs += 1
        return str(self._refs)

    async def _write(self, frame: list[Any]) -> None:
        try:
            await self._socket.send_str(orjson.dumps(frame).decode())
        except (aiohttp.ClientError, ConnectionError):
            raise Disconnected("The connection was lost.") from None

    async def _read(self) -> list[Any]:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            frame = orjson.loads(message.data)
            if isinstance(frame, list) and len(frame) == 5:
                return frame
            raise ClientError("invalid_answer", "The server does not speak the Phoenix protocol.")
        code = self._socket.close_code
        if code == TOKEN_EXPIRED:
            raise ClientError("token_expired", "The token has expired; get a new one.")
        raise Disconnected(f"The connection was lost (close code {code}).")


@contextlib.asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Connection]:
    """An open connection with its heartbeat. Raises `ClientError` when refused, `Disconnected` when out of reach."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await server.http.ws_connect(
                server.socket_url, headers=server.headers, heartbeat=PING_SECONDS, max_msg_size=FRAME_BYTES
            )
    except aiohttp.WSServerHandshakeError as error:
        if error.status >= 500:
            raise Disconnected(f"{server.url} answers {error.status}.") from None
        code = "not_authenticated" if error.status == 401 else "refused"
        raise ClientError(code, f"The server refused the socket with status {error.status}.") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Disconnected(f"{server.url} cannot be reached: {reason(error)}") from None
    connection = Connection(socket)
    heartbeat = asyncio.create_task(connection.beat(), name="heartbeat")
    try:
        yield connection
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)
        await socket.close()


def _response(payload: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = payload.get("response") or {}
    if payload.get("status") != "ok":
        raise error_of(response, "The server refused to join.")
    return response
