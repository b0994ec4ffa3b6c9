"""An agent as a WSGI application (PEP 3333): the ASGI one, driven from the server's threads.

WSGI does not tell of a caller who has hung up: it shows when the next piece cannot be written.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .asgi import AsgiApp

T = TypeVar("T")
Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_END = object()


class WsgiApp:
    """Answers every POST, whatever its path."""

    def __init__(self, app: "AsgiApp") -> None:
        self._app = app
        self._loop = _LoopThread()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """One request."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        limit = self._app.body_limit + 1  # one more byte is enough to see that it is too much
        body = environ["wsgi.input"].read(min(length, limit))
        pieces = _Pieces(self._loop, self._loop.call(_exchange(self._app, _scope(environ), body)))
        try:
            head = pieces.message()
        except BaseException:
            pieces.close()
            raise
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head["headers"]]
        start_response(f"{head['status']} {HTTPStatus(head['status']).phrase}", headers)
        return pieces


class _Exchange:
    """One request in the loop's thread: what the application says waits until the server's thread takes it."""

    def __init__(self, app: "AsgiApp", scope: dict[str, Any], body: bytes) -> None:
        self.said: asyncio.Queue[Any] = asyncio.Queue(1)
        self._requests = iter([{"type": "http.request", "body": body}])
        self.task = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: "AsgiApp", scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self.said.put)

    async def _receive(self) -> dict[str, Any]:
        if (request := next(self._requests, None)) is not None:
            return request
        await asyncio.Event().wait()  # for ever: `close` ends the task when the caller has hung up
        raise AssertionError

    async def message(self) -> Any:
        """The next thing that the application says. Raises what it has raised."""
        saying = asyncio.ensure_future(self.said.get())
        await asyncio.wait([saying, self.task], return_when=asyncio.FIRST_COMPLETED)
        if saying.done() or not self.said.empty():
            return await saying
        saying.cancel()
        self.task.result()
        return _END

    async def close(self) -> None:
        """The server wants no more; the handler is stopped by now if it was not done."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def _exchange(app: "AsgiApp", scope: dict[str, Any], body: bytes) -> _Exchange:
    return _Exchange(app, scope, body)


class _Pieces:
    """The body, as WSGI wants it: to be iterated, and closed."""

    def __init__(self, loop: "_LoopThread", exchange: _Exchange) -> None:
        self._loop = loop
        self._exchange = exchange

    def message(self) -> Any:
        """The next thing that the application says."""
        return self._loop.call(self._exchange.message())

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        message = self.message()
        if message is _END:
            raise StopIteration
        body: bytes = message["body"]
        return body

    def close(self) -> None:
        """Called by the server at the end, whatever the end is."""
        self._loop.call(self._exchange.close())


class _LoopThread:
    """An event loop in a thread of its own; started at the first call, anew in a process that was forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives back, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="fleetlm-agent-loop", daemon=True
                ).start()
            return self._loop


def _scope(environ: Environ) -> dict[str, Any]:
    fields = {
        name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")
    }
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    return {"type": "http", "method": environ["REQUEST_METHOD"], "headers": headers}
