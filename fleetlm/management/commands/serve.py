"""`manage.py serve`: the web processes."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from fleetlm.config import PROJECT_ROOT
from fleetlm.server import serve
from observability.metrics_view import forget_dead_processes
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
            forget_dead_processes()
            serve(reuse_port=worker)
        else:
            asyncio.run(self._supervise(count))

    async def _supervise(self, count: int) -> None:
        supervisor = Supervisor(self.stdout.write)
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        # Workers share this directory: each one's /metrics speaks for all.
        own = tempfile.mkdtemp(prefix="fleetlm-metrics-")
        environment = {"PROMETHEUS_MULTIPROC_DIR": own, **os.environ}
        command = [sys.executable, str(PROJECT_ROOT / "manage.py"), "serve", "--worker"]
        for number in range(1, count + 1):
            program = Program(
                name=f"web {number}", command=command, directory=PROJECT_ROOT, environment=environment
            )
            await supervisor.start(program)
        await stop.wait()
        await supervisor.stop()
        shutil.rmtree(own, ignore_errors=True)
