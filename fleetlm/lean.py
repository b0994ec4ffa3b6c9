"""Django's request handling without its thread hops, for routes whose views are coroutines.

Django's own `ASGIHandler` makes a thread pool for each request, closes each response in a thread and sends two signals; that
costs eight times what the rest does. Routes of the API need none of it: they hold no thread-local connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve
from django.utils.module_loading import import_string

from conversations.errors import InvalidRequest, TooLarge
from fleetlm.api.base import error_response
from fleetlm.errors import as_error

MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware"]
"""Async all the way; each one more is paid for by every message."""

PATH_REMEMBERED = 512
"""Characters of a path up to which what it leads to is remembered."""

_NO_STREAM = BytesIO()
_PREFIXES = ("/api/", "/health", "/metrics")
_THREADED = ("/api/schema", "/api/docs")


def is_lean(path: str) -> bool:
    """Whether a path is served here: all of the API but its documentation pages, and what probes ask for by IP address."""
    return path.startswith(_PREFIXES) and not path.startswith(_THREADED)


class LeanRequest(ASGIRequest):
    """A request whose body is here already."""

    def __init__(self, scope: Any, body: bytes) -> None:
        super().__init__(scope, _NO_STREAM)
        self._body = body


class LeanHandler(ASGIHandler):
    """An `ASGIHandler` for async views only."""

    def load_middleware(self, is_async: bool = False) -> None:
        """The short list, around the views."""
        handler: Callable[[HttpRequest], Any] = _call_view
        for path in reversed(MIDDLEWARE):
            handler = convert_exception_to_response(import_string(path)(handler))
        self._chain = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        try:
            body = await _read_body(scope, receive)
            if body is None:
                return
            request = LeanRequest(scope, body)
        except TooLarge as error:
            await _send(error_response(error), send)
        except UnicodeDecodeError:
            await _send(error_response(InvalidRequest("The path is not valid UTF-8.")), send)
        else:
            await self._answer(request, receive, send)

    async def _answer(self, request: HttpRequest, receive: Any, send: Any) -> None:
        # Only browsers send an Origin; for all others there is nothing to do around the view.
        response = await (self._chain if "HTTP_ORIGIN" in request.META else _call_view)(request)
        if response.streaming:
            await self._stream(response, receive, send)
        else:
            await _send(response, send)

    async def _stream(self, response: HttpResponseBase, receive: Any, send: Any) -> None:
        """Send until the end or until the client goes; either way the response's iterator is closed."""
        sending = asyncio.ensure_future(self.send_response(response, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            response.close()


async def _call_view(request: HttpRequest) -> HttpResponseBase:
    """Call the view that this path leads to. Views render their own errors; a path that leads nowhere is left."""
    try:
        path = request.path_info
        request.resolver_match = match = _resolve(path) if len(path) <= PATH_REMEMBERED else resolve(path)
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        return response
    except Exception as error:  # noqa: BLE001  # rendered, and logged if it is a fault of ours
        return error_response(as_error(error))


@lru_cache(maxsize=4_096)
def _resolve(path: str) -> ResolverMatch:
    """Django tries its patterns one after the other; here the answer is remembered."""
    return resolve(path)


async def _send(response: Any, send: Any) -> None:
    """Send a whole `HttpResponse`. Those of the API have no cookies."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


async def _read_body(scope: Any, receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """The whole body; None if the client has gone. Raises `TooLarge` as soon as it passes the limit."""
    limit = settings.FLEETLM.request_bytes
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge(limit=limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
