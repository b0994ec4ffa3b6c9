"""`manage.py dispatch`: the process that calls agents. SIGTERM and Ctrl-C let the calls under way finish."""

import asyncio
import logging
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand
from prometheus_client import start_http_server

from observability.metrics_view import forget_dead_processes
from observability.traces import configure_tracing, stop_tracing
from runtime.core import current
from runtime.dispatcher import Dispatcher
from runtime.gateway import DISPATCH
from runtime.listener import Listener
from runtime.run_relay import RunRelay

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Call agents whose conversations have something new for them. Run as many as you like."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        configure_tracing("fleetlm-dispatcher")
        forget_dead_processes()
        config = settings.FLEETLM
        if config.dispatch_metrics_port:
            start_http_server(config.dispatch_metrics_port, config.host)
        uvloop.run(serve())


async def serve() -> None:
    """Dispatch until SIGTERM or SIGINT, then drain and return."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    runtime = current()
    relay = RunRelay(runtime.publisher, runtime.partials)
    dispatcher = Dispatcher(runtime.pool, runtime.gateway.append, relay)
    listener = Listener(
        {
            "dispatch.due": lambda hint: dispatcher.wake(),
            "dispatch.cancel": lambda hint: dispatcher.cancel(hint["run_id"]),
        }
    )
    await runtime.start()
    listener.start()
    listener.follow(DISPATCH)
    logger.info("Calling agents")
    try:
        await dispatcher.run(stop)
    finally:
        await runtime.stop()
        await listener.stop()
        await asyncio.to_thread(stop_tracing)
    logger.info("Stopped")
