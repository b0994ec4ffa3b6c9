"""A small HTTP/1.1 server for one ASGI application: what an agent needs to run alone, on the standard library.

It knows requests with a length and answers of any kind, keeps connections open, streams, notices at once who hangs up, and
ends cleanly. TLS, HTTP/2 and the like are the business of a proxy, or of uvicorn.
"""

import asyncio
import contextlib
import http.client
import io
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .asgi import AsgiApp

HEAD_BYTES = 64 * 1024
IDLE_SECONDS = 75.0
"""A connection on which no request comes is closed after this; longer than FleetLM keeps one."""
READ_SECONDS = 30.0
"""A request must be here as a whole within this."""
DRAIN_SECONDS = 30.0
"""At the end, answers under way may take this long."""

log = logging.getLogger("fleetlm_client.agent")


class RequestInvalid(Exception):
    """What came is no HTTP request that we understand; `status` says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass
class Request:
    """One request. `hang_up` is the first byte of the next one, or nothing if there will be none."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keeps_open: bool
    hang_up: asyncio.Future[bytes] = field(repr=False)


def run(app: AsgiApp, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises `OSError` if the port is taken."""
    asyncio.run(_run(app, host, port))


async def _run(app: AsgiApp, host: str, port: int) -> None:
    ending = asyncio.Event()
    with _signals(ending):
        async with serving(app, host, port) as url:
            sys.stderr.write(f"The agent listens on {url}\n")
            await ending.wait()


@contextlib.asynccontextmanager
async def serving(app: AsgiApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve while this context lasts; its URL. At the end what is under way is answered, within `DRAIN_SECONDS`."""
    connections: set[asyncio.Task[None]] = set()
    ending = asyncio.Event()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_Connection(app, reader, writer, ending).serve())
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, host, port, limit=HEAD_BYTES)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        ending.set()
        await _drain(connections)


async def _drain(connections: set[asyncio.Task[None]]) -> None:
    if connections:
        _, late = await asyncio.wait(connections, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class _Connection:
    """One connection: its requests, one after the other."""

    def __init__(
        self, app: AsgiApp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ending: asyncio.Event
    ) -> None:
        self._app = app
        self._reader = reader
        self._writer = writer
        self._ending = ending

    async def serve(self) -> None:
        """Answer requests until there are no more, or the server ends."""
        first = asyncio.ensure_future(self._reader.read(1))
        try:
            while await self._comes(first):
                request = await _within(READ_SECONDS, self._request(first.result()))
                first = request.hang_up
                if not await _Exchange(self._app, request, self._writer).run() or self._ending.is_set():
                    break
        except RequestInvalid as error:
            self._refuse(error.status)
        except (OSError, asyncio.IncompleteReadError):
            pass  # they have hung up
        finally:
            if not first.cancel() and not first.cancelled():
                first.exception()  # looked at, so that nobody warns of it
            await self._close()

    async def _comes(self, first: asyncio.Future[bytes]) -> bool:
        """Whether a request comes before the connection has been idle for long, or the server ends."""
        ending: asyncio.Future[Any] = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({first, ending}, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        return first.done() and bool(first.result())

    async def _request(self, first: bytes) -> Request:
        method, path, version, headers = _parse(first + await self._head())
        if "transfer-encoding" in headers:
            raise RequestInvalid(HTTPStatus.LENGTH_REQUIRED)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise RequestInvalid(HTTPStatus.BAD_REQUEST)
        if int(length) > self._app.body_limit:
            raise RequestInvalid(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._reader.readexactly(int(length))
        return Request(
            method=method,
            path=path,
            headers=[
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
            body=body,
            keeps_open=version == "HTTP/1.1" and headers.get("connection", "").lower() != "close",
            hang_up=asyncio.ensure_future(self._reader.read(1)),
        )

    async def _head(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise RequestInvalid(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None

    def _refuse(self, status: HTTPStatus) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self._writer.write(head.encode())

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class _Exchange:
    """One request and its answer, as ASGI."""

    def __init__(self, app: AsgiApp, request: Request, writer: asyncio.StreamWriter) -> None:
        self._app = app
        self._request = request
        self._writer = writer
        self._is_read = False
        self._keeps_open = request.keeps_open
        self._is_chunked = False
        self._has_begun = False

    async def run(self) -> bool:
        """Answer it; whether the connection may be used again."""
        scope = {
            "type": "http",
            "method": self._request.method,
            "path": self._request.path,
            "headers": self._request.headers,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except ConnectionError:
            return False  # they have hung up while we were writing
        except Exception:
            log.exception("The agent has failed.")
            if not self._has_begun:
                raise RequestInvalid(HTTPStatus.INTERNAL_SERVER_ERROR) from None
            return False
        return self._keeps_open and self._has_begun

    async def _receive(self) -> dict[str, Any]:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await asyncio.wait([self._request.hang_up])
        if self._is_there():
            await asyncio.Event().wait()  # the next request has begun to come: this one is still wanted
        return {"type": "http.disconnect"}

    def _is_there(self) -> bool:
        hang_up = self._request.hang_up
        return not hang_up.cancelled() and hang_up.exception() is None and bool(hang_up.result())

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._writer.write(self._head(message["status"], message["headers"]))
            self._has_begun = True
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._writer.write(body)
        await self._writer.drain()

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        lines += [name + b": " + value for name, value in headers]
        has_length = status == HTTPStatus.NO_CONTENT or any(name == b"content-length" for name, _ in headers)
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer.
        self._is_chunked = not has_length and self._keeps_open
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked")
        if not self._keeps_open:
            lines.append(b"connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _parse(head: bytes) -> tuple[str, str, str, http.client.HTTPMessage]:
    line, _, rest = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise RequestInvalid(HTTPStatus.BAD_REQUEST)
    try:
        return words[0], words[1], words[2], http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException:
        raise RequestInvalid(HTTPStatus.BAD_REQUEST) from None


async def _within(seconds: float, work: Any) -> Any:
    """What the work gives, unless it takes too long. Raises `RequestInvalid`."""
    doing = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([doing], timeout=seconds)
    if not done:
        doing.cancel()
        raise RequestInvalid(HTTPStatus.REQUEST_TIMEOUT)
    return doing.result()


@contextlib.contextmanager
def _signals(ending: asyncio.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set the event; where signals come, which is only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(ending.set))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
