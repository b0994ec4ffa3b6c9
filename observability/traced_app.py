"""A server span for every request of the API, at the ASGI door, by OpenTelemetry's conventions for HTTP.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/. Imported only while tracing is on.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

from observability.logs import request_id
from observability.routes import UNMATCHED

Event = MutableMapping[str, Any]
TRACED: Final = "/api/"
"""The routes that Django's own handler does not serve; the others are traced by `DjangoInstrumentor`."""


class TracedApp:
    """An ASGI application that wraps another. Its spans continue the caller's `traceparent`.

    Sockets get none: a span that lasts for days says nothing. What they ask for has spans of its own.
    """

    def __init__(
        self,
        app: Callable[[Event, Any, Any], Awaitable[None]],
        route_of: Callable[[str], str],
    ) -> None:
        self._app = app
        self._route_of = route_of
        self._tracer = trace.get_tracer("fleetlm")

    async def __call__(self, scope: Event, receive: Any, send: Any) -> None:
        """Serve one request, socket or lifespan."""
        if scope["type"] != "http" or not scope["path"].startswith(TRACED):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        route = self._route_of(scope["path"])
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            method if route == UNMATCHED else f"{method} {route}",
            context=propagate.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "url.path": scope["path"],
                "url.scheme": scope.get("scheme", "http"),
                "fleetlm.request_id": request_id.get() or "",
            },
        ) as span:

            def send_traced(event: Event) -> Any:
                if event["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", event["status"])
                    if event["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                return send(event)

            await self._app(scope, receive, send_traced)
