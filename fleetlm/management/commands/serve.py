"""`manage.py serve`: the web processes."""

import asyncio
import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from fleetlm.config import PROJECT_ROOT
from fleetlm.server import serve
from runtime.program import Program
from runtime.supervisor import Supervisor


class Command(BaseCommand):
    """One process, or WEB_CONCURRENCY of them behind one port; each that dies is started again."""

    help = "Serve REST, sockets and pages on HOST and PORT (uvicorn)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Arguments of the command line."""
        parser.add_argument("--worker", action="store_true", help="one of several behind the same port")

    def handle(self, *args: Any, worker: bool, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        count = settings.FLEETLM.web_concurrency
        if worker or count == 1:
            serve(reuse_port=worker)
        else:
            asyncio.run(self._supervise(count))

    async def _supervise(self, count: int) -> None:
        supervisor = Supervisor(self.stdout.write)
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        command = [sys.executable, str(PROJECT_ROOT / "manage.py"), "serve", "--worker"]
        for number in range(1, count + 1):
            await supervisor.start(Program(name=f"web {number}", command=command, directory=PROJECT_ROOT))
        await stop.wait()
        await supervisor.stop()
