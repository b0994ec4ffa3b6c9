"""What aiohttp's connections do not do by themselves: end at once, notice a broken body, and refuse stale answers."""

import asyncio
import socket
import struct
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

_RESET: Final = struct.pack("ii", 1, 0)
"""`SO_LINGER` of no time at all: the system, too, drops what it has not sent, and tells the other side."""


class UnexpectedAnswer(aiohttp.ClientError):
    """The connection holds an answer already, before anything was asked on it."""


class CarefulRequest(aiohttp.ClientRequest):
    """Is not sent on a connection that holds an answer to something else.

    Agents behind a broken proxy send such; taken for the answer of this call, it would end in the wrong conversation.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send the request. Raises `UnexpectedAnswer`, and nothing was sent."""
        if conn.protocol is not None and len(conn.protocol):
            raise UnexpectedAnswer("the agent sends answers that nobody has asked for")
        return await super().send(conn)


class PromptResponse(aiohttp.ClientResponse):
    """Lets go at once, and fails when the connection does."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head."""
        await super().start(connection)
        if not self.content.is_eof() and connection.protocol is not None:
            self._watch(connection.protocol)
        return self

    def close(self) -> None:
        """Close the connection, unless the answer was received to its end.

        What of the request is unsent is thrown away: an agent that takes none would keep the connection otherwise.
        """
        transport = self.connection.transport if self.connection is not None else None
        if transport is not None:
            if transport.get_write_buffer_size():
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        super().close()

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
