"""The web server process: uvicorn, with a WebSocket protocol that lends its transport, and an orderly end."""

import asyncio
import logging
import os
import socket
from typing import Any, cast

import uvicorn
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN

from fleetlm.sockets.outbox import WIRE
from observability.health import begin_drain
from runtime.core import current

logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 2.0
"""How long a draining process waits for a peer's answer to its close frame."""


GATHERED_BYTES = 64 * 1024
"""Bytes of one turn of the loop that are not held until its end: they count as unsent, and the peer may well take them."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol; the head of an answer leaves together with the beginning of its body."""

    def connection_made(self, transport: Any) -> None:
        """Serve a connection."""
        super().connection_made(cast(asyncio.Transport, _HeadsWithBodies(transport)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the parser, which holds this protocol: cycles wait for the collector, which seldom looks at old objects."""
        super().connection_lost(exc)
        del self.parser

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, and let go of the parser likewise."""
        super().handle_websocket_upgrade()
        del self.parser


class _HeadsWithBodies:
    """A transport that holds the head of an answer back until its body comes: each write by itself is a system call."""

    def __init__(self, transport: Any) -> None:
        self.inner = transport
        self._head: bytes | None = None
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Write, together with what was held back; what comes without more in the same turn of the loop is not held longer."""
        if self._head is not None:
            head, self._head = self._head, None
            self.inner.write(head + data)
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self.inner.write(data)

    def _flush(self) -> None:
        if self.inner.is_closing():
            self._head = None
        elif self._head is not None:
            self.write(b"")

    def close(self) -> None:
        """Close when everything was written."""
        self._flush()
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol; the application may write whole frames to the transport itself (`fleetlm.sockets.outbox.Wire`)."""

    _gathered: list[bytes] | None = None
    _gathered_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Take a connection over from HTTP."""
        super().connection_made(transport.inner if isinstance(transport, _HeadsWithBodies) else transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the parser, as above, and of the scope that lends this connection."""
        super().connection_lost(exc)
        self.conn.parser.close()
        if hasattr(self, "scope"):
            cast(dict[str, Any], self.scope["extensions"]).pop(WIRE, None)

    def handle_connect(self, event: Request) -> None:
        """Lend this connection to the application, which starts on the loop's next turn."""
        super().handle_connect(event)
        if not self.handshake_complete:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[WIRE] = self

    async def send(self, message: Any) -> None:
        """Take an ASGI event. A connection that was refused with an answer is complete: no fault, and not logged as one."""
        self._flush()
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.request, self.response  # a tenth of what an idle socket takes
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Close with 1012 and wait for the peer's answer.

        A connection dropped at once, with frames of the peer unread, is reset: the peer may then never see the close frame.
        """
        if not self.handshake_complete or self.close_sent:
            super().shutdown()
            return
        self._flush()
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012})
        self.conn.send_close(1012)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """A peer that answers no ping is gone: what it has not taken is not waited for."""
        super().keepalive_timeout()
        self.transport.abort()

    def write(self, data: bytes) -> None:
        """Write whole WebSocket frames, unless the connection is on its way out, or cut.

        They leave together at the next turn of the loop: each write by itself is a system call.
        """
        if self._gathered is None:
            self._gathered = []
            self.loop.call_soon(self._flush)
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes > GATHERED_BYTES:
            self._flush()

    def _flush(self) -> None:
        gathered, self._gathered, self._gathered_bytes = self._gathered, None, 0
        is_open = self.handshake_complete and not self.close_sent and self.conn.state is OPEN
        if gathered and is_open and not self.transport.is_closing():
            self.transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def unsent(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._gathered_bytes + int(self.transport.get_write_buffer_size())

    async def room(self) -> None:
        """Return when the transport has room."""
        self._flush()
        await self.writable.wait()

    def abort(self) -> None:
        """Drop the connection now."""
        self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn's server. At its end it first answers what is under way, then closes sockets with 1012."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that the process drains, let queued appends be answered, then close everything."""
        begin_drain()
        runtime = current()
        runtime.draining.set()
        asyncio.get_running_loop().call_later(settings.FLEETLM.drain_seconds + 1, _give_up)
        await runtime.appender.settle(settings.FLEETLM.drain_seconds / 4)
        await super().shutdown(sockets)
        # The signal has been served: raised again, as uvicorn would, it would end an orderly exit with its own code.
        self._captured_signals.clear()


def _give_up() -> None:
    """End a process that cannot end by itself, because Postgres hangs. What was acknowledged is stored, come what may."""
    logger.error("Stopped with work unfinished: not everything answered in time")
    logging.shutdown()
    os._exit(1)


def serve(*, reuse_port: bool = False) -> None:
    """Run one web process on HOST and PORT until SIGTERM or SIGINT."""
    config = settings.FLEETLM
    uvicorn_config = uvicorn.Config(
        "fleetlm.asgi:application",
        host=config.host,
        port=config.port,
        loop="uvloop",
        http=HttpProtocol,
        ws=SocketProtocol,
        ws_max_size=config.request_bytes,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=config.trusted_proxy,
        server_header=False,
        timeout_graceful_shutdown=max(int(config.drain_seconds / 2), 1),
        backlog=4_096,
    )
    listener = _listen(config.host, config.port, reuse_port=reuse_port)
    Server(uvicorn_config).run(sockets=[listener])


def _listen(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener
