"""`manage.py up`: all of FleetLM on this machine, with one command."""

import asyncio
import os
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand

from runtime.development import CannotStartError, Development
from runtime.embedded.engine import EngineError
from runtime.embedded.files import DataInUseError, locked
from runtime.ports import free_port, is_free

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Command(BaseCommand):
    """Exit code 0 after Ctrl-C, 1 when something cannot start, 2 for a setting that is refused."""

    help = "Run FleetLM here, for development: embedded engines, migrations, web, dispatcher, a demo agent."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Arguments of the command line."""
        parser.add_argument(
            "--engines", action="store_true", help="only Postgres and Valkey, for `runserver`"
        )

    def handle(self, *args: Any, engines: bool, **options: Any) -> None:
        """Bring everything up, and keep it up until a signal says otherwise."""
        config = settings.FLEETLM
        # What the caller set, not what an earlier `up` left in `<data>/env`: only this place must tell.
        given = {"FLEETLM_ENV": "development", **os.environ}
        given.setdefault("FLEETLM_AUTH", "open" if given["FLEETLM_ENV"] == "development" else "required")
        if given["FLEETLM_AUTH"] == "open" and config.host not in LOOPBACK:
            self._fail(f"FLEETLM_AUTH=open listens on loopback only, not on HOST={config.host}", code=2)
        port = config.port or free_port(config.host)
        try:
            with locked(config.data_dir.resolve()):
                if not engines:
                    self._check_port(config.host, port)
                development = Development(
                    data=config.data_dir.resolve(), host=config.host, port=port, given=given
                )
                asyncio.run(development.run(engines_only=engines))
        except (CannotStartError, DataInUseError, EngineError) as error:
            self._fail(str(error), code=1)
        except OSError as error:
            self._fail(f"{config.data_dir}: {error.strerror or error}", code=1)

    def _check_port(self, host: str, port: int) -> None:
        try:
            free = is_free(host, port)
        except OSError as error:
            self._fail(f"Cannot listen on HOST={host} PORT={port}: {error.strerror or error}", code=1)
        if not free:
            self._fail(
                f"{host}:{port} is in use by another program. Choose another port: PORT={port + 1} make up",
                code=1,
            )

    def _fail(self, message: str, *, code: int) -> None:
        self.stderr.write(f"fleetlm: {message}")
        sys.exit(code)
