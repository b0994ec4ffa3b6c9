"""The ASGI application: the API's lean handler, Django's own for pages, the socket, and the process's life."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetlm.settings")

import django

django.setup()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

from fleetlm.lean import LeanHandler, is_lean
from fleetlm.sockets.consumer import SocketConsumer
from observability.asgi import ObservedApp
from observability.traces import configure_tracing, stop_tracing
from runtime.core import current

configure_tracing("fleetlm-web")

_lean = LeanHandler()
_pages = get_asgi_application()


async def _http(scope: Any, receive: Any, send: Any) -> None:
    await (_lean if is_lean(scope["path"]) else _pages)(scope, receive, send)


async def _lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Start with the server, and end after the last connection. Servers without lifespan start by first use."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await current().start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await current().stop()
            await asyncio.to_thread(stop_tracing)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _no_such_socket(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close", "code": 4004})


_routed = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": URLRouter(
            [
                path("socket/websocket", SocketConsumer.as_asgi()),
                re_path("", cast(Any, _no_such_socket)),
            ]
        ),
        "lifespan": _lifespan,
    }
)

application: Callable[[Any, Any, Any], Awaitable[None]] = ObservedApp(_routed)
