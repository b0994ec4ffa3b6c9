"""One call on one of aiohttp's connections: what goes out, the head of what comes back, the end of it.

aiohttp's connector dials and keeps the connections, and its parser reads what comes. Its session is left out: what that
adds is either refused here (redirects, cookies, proxies, retries) or kept here (timeouts), and is two thirds of a call's time.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from yarl import URL

CONNECT_SECONDS: Final = 5.0
UNSENT_SECONDS: Final = 5.0
"""How long an agent that has answered may still take what it has not read of its call."""

LINE_BYTES: Final = 8 * 1024
"""The longest status line and the longest header of an answer."""

HEADERS: Final = 128
BUFFER_BYTES: Final = 64 * 1024
"""What is read ahead of whoever reads a body; a little more than twice as much may wait."""

JOINED_BYTES: Final = 16 * 1024
"""Up to this size a body is copied behind its head, to go out as one piece."""

# All other times are the caller's: how long an answer may take depends on its head.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)

_RESET: Final = struct.pack("ii", 1, 0)
"""`SO_LINGER` of no time at all: the system, too, drops what it has not sent, and tells the other side."""


class UnexpectedAnswer(aiohttp.ClientError):
    """The connection holds an answer already, before anything was asked on it."""


class Target:
    """Where the calls of one URL go, and how their heads begin. It is of use to many calls at once."""

    __slots__ = ("_basic", "_line", "where")

    def __init__(self, url: URL) -> None:
        """Raises `aiohttp.InvalidURL`."""
        self.where = aiohttp.ClientRequest("POST", url)
        """Tells the connector where to dial; it is never sent itself."""
        self._line = f"POST {url.raw_path_qs} HTTP/1.1"
        self._basic = {
            "host": url.host_port_subcomponent or "",
            "user-agent": "FleetLM/1",
            "accept-encoding": "identity",
        }

    def head(self, headers: Mapping[str, str], size: int) -> bytes:
        """The head of a call with a body of so many bytes. Names of headers are in lower case.

        Raises `ValueError` for a header that would not stay one.
        """
        fields = {**self._basic, **headers, "content-length": str(size)}
        lines = [self._line, *[f"{name}: {value}" for name, value in fields.items()], "", ""]
        text = "\r\n".join(lines)
        breaks = len(lines) - 1
        if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
            raise ValueError("a header holds a line break or NUL")
        return text.encode()


async def post(
    connector: aiohttp.TCPConnector, target: Target, headers: Mapping[str, str], body: bytes
) -> "Response":
    """Send a call and wait for the head of its answer.

    Raises `aiohttp.ClientError`, `OSError`, `HttpProcessingError` for an answer that is not HTTP, and `UnexpectedAnswer`,
    where nothing was sent: agents behind a broken proxy send answers to something else; taken for the answer of this call,
    one would end in the wrong conversation.
    """
    head = target.head(headers, len(body))
    try:
        connection = await connector.connect(target.where, [], _TIMEOUT)
    except TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError(str(error)) from error
    response = Response(connection)
    try:
        await response.begin(head, body)
    except BaseException:
        response.close()
        raise
    return response


class Response:
    """An answer as it comes: lets go at once, and fails when the connection does."""

    __slots__ = ("_connection", "content", "headers", "is_over", "status")

    status: int
    headers: Mapping[str, str]
    content: StreamReader

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.is_over = False
        """Whether it was received to its end, or closed."""

    async def begin(self, head: bytes, body: bytes) -> None:
        """Send the call and wait for the head."""
        protocol, transport = self._connection.protocol, self._connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=BUFFER_BYTES,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=HEADERS,
        )
        if len(protocol):
            raise UnexpectedAnswer("the agent sends answers that nobody has asked for")
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, content = await protocol.read()
        self.status, self.headers, self.content = message.code, message.headers, content
        content.on_eof(self._received)
        if not content.is_eof():
            self._watch(protocol)

    def close(self) -> None:
        """Close the connection, for an answer that is not wanted to its end.

        What of the request is unsent is thrown away: an agent that takes none would keep the connection otherwise.
        """
        self.is_over = True
        transport = self._connection.transport
        if transport is not None:
            if transport.get_write_buffer_size():
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        self._connection.close()

    def _received(self) -> None:
        protocol, transport = self._connection.protocol, self._connection.transport
        if self.is_over or protocol is None or protocol.upgraded:
            return
        self.is_over = True
        if transport is not None and transport.get_write_buffer_size():
            # The agent has answered without waiting for the rest. It is closed when that is sent.
            self._connection.close()
            asyncio.get_running_loop().call_later(UNSENT_SECONDS, transport.abort)
        else:
            self._connection.release()

    def _watch(self, protocol: ResponseHandler) -> None:
        # A body whose framing is garbage closes the connection, but aiohttp leaves whoever reads it waiting.
        closed = protocol.closed
        if closed is None:
            return
        content = self.content

        def fail(_: object) -> None:
            if not content.is_eof() and content.exception() is None:
                content.set_exception(protocol.exception() or aiohttp.ClientPayloadError("connection closed"))

        # The future lasts as long as the connection, which serves many answers.
        closed.remove_done_callback(_retrieve)
        closed.add_done_callback(_retrieve)
        closed.add_done_callback(fail)

        def stop_watching() -> None:
            closed.remove_done_callback(fail)

        content.on_eof(stop_watching)


def _retrieve(closed: asyncio.Future[None]) -> None:
    """An idle connection that breaks is nobody's fault: asyncio is not to complain."""
    if not closed.cancelled():
        closed.exception()
