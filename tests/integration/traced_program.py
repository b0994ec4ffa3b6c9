"""A process that serves a few requests, traced as its environment says, and reports what it saw as JSON."""

import asyncio
import json
import sys
from typing import Any

import django

from observability import traces


async def inner(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/api/broken":
        raise RuntimeError("as asked for")
    if scope["path"] != "/health/live":
        with traces.span("append", messages=3):
            scope["seen"] = traces.outgoing_headers()
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def request(app: Any, path: str) -> dict[str, str]:
    headers = [
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (b"x-request-id", b"mine"),
    ]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "scheme": "http"}

    async def send(event: Any) -> None:
        return

    try:
        await app(scope, None, send)
    except RuntimeError:
        return {}
    return scope.get("seen", {})  # type: ignore[return-value]


async def page(path: str) -> None:
    """A page of Django's own handler, with the middleware that the instrumentation put in."""
    from django.core.asgi import get_asgi_application
    from django.test import AsyncRequestFactory

    scope = AsyncRequestFactory().get(path).scope
    scope["headers"] = [(b"host", b"localhost")]
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": b""})

    async def send(event: Any) -> None:
        return

    await get_asgi_application()(scope, incoming.get, send)


async def main() -> None:
    from observability.asgi import ObservedApp
    from observability.routes import RouteTable

    on = traces.configure_tracing("fleetlm-tests")
    app = ObservedApp(inner, RouteTable(["/api/conversations/{key}/messages", "/api/broken"]))
    headers = await request(app, "/api/conversations/a:b/messages")
    await request(app, "/api/broken")
    await request(app, "/health/live")
    loaded = any(name.startswith("opentelemetry.") for name in sys.modules)
    await page("/favicon.ico")
    traces.stop_tracing()
    sys.stdout.write(json.dumps({"on": on, "headers": headers, "loaded": loaded}))


if __name__ == "__main__":
    django.setup()
    asyncio.run(main())
