"""Around the whole application: a request id, one measurement and perhaps an access log line for every request.

On the path of every request, so it is one class and a few plain calls: under 10 µs of its own, and what
logging costs where the level lets the line through.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote

from observability import traces
from observability.logs import request_id
from observability.metrics import HTTP_REQUEST_SECONDS
from observability.requests import HEADER, request_id_of
from observability.routes import RouteTable, table_of_urlconf

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
CLIENT_GONE: Final = 499
QUIET_PATHS: Final = ("/api/", "/health", "/metrics")
"""What went well there is told at DEBUG: a log line costs an eighth of an append. Metrics count all of it anyway."""

logger = logging.getLogger("observability.access")


class ObservedApp:
    """An ASGI application that wraps another: see the module. Make it after `traces.configure_tracing`.

    An exception of the inner application counts as status 500 and goes on to the server; a client that went
    away before there was an answer counts as 499.
    """

    def __init__(self, app: App, routes: RouteTable | None = None) -> None:
        self._app: App = app
        self._routes = routes
        self._observers: dict[tuple[str, str, int], Callable[[float], None]] = {}
        if traces.is_on():
            from observability.traced_app import TracedApp

            self._app = TracedApp(app, self._route_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, socket or lifespan."""
        kind = scope["type"]
        if kind == "http":
            await self._serve_request(scope, receive, send)
        elif kind == "websocket":
            await self._serve_socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        own_id = request_id_of(scope["headers"])
        status = CLIENT_GONE

        # Not a coroutine: it hands on the server's own awaitable, which costs one call and no frame.
        def send_observed(event: Event) -> Awaitable[None]:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                event["headers"] = [*event.get("headers", ()), (HEADER, own_id)]
            return send(event)

        token = request_id.set(own_id.decode())
        try:
            await self._app(scope, receive, send_observed)
        except Exception:
            status = 500
            raise
        finally:
            self._record(scope, status, perf_counter() - began)
            request_id.reset(token)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        own_id = request_id_of(scope["headers"])

        def send_observed(event: Event) -> Awaitable[None]:
            if event["type"] == "websocket.accept":
                event["headers"] = [*event.get("headers", ()), (HEADER, own_id)]
            return send(event)

        token = request_id.set(own_id.decode())
        try:
            await self._app(scope, receive, send_observed)
        finally:
            request_id.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        labels = (method if method in METHODS else "other", self._route_of(scope["path"]), status)
        observe = self._observers.get(labels)
        if observe is None:
            observe = self._observers[labels] = HTTP_REQUEST_SECONDS.labels(*labels).observe
        observe(seconds)
        level = logging.DEBUG if status < 400 and scope["path"].startswith(QUIET_PATHS) else logging.INFO
        if logger.isEnabledFor(level):
            _log(level, scope, status, seconds)

    def _route_of(self, path: str) -> str:
        # Not in __init__: the URLconf is imported with the first request, not before the application is
        # whole.
        if self._routes is None:
            self._routes = table_of_urlconf()
        return self._routes.template_of(path)


def _log(level: int, scope: Scope, status: int, seconds: float) -> None:
    raw = scope.get("raw_path")
    # As it was sent, percent-encoded: a line break in a path must not make a second log line.
    path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
    duration_ms = round(seconds * 1000, 3)
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": duration_ms}
    logger.log(level, "%s %s %d %s ms", scope["method"], path, status, duration_ms, extra=fields)
