"""`manage.py client`: the `fleetlm` command, with this server as the one to speak to."""

from typing import NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listened on, not called


class Command(BaseCommand):
    help = "The fleetlm command, with the server of these settings where no other is named."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Hand over everything as it was typed: what it means, the command knows."""
        self.handle(*argv[2:])

    def handle(self, *args: str, **options: object) -> NoReturn:
        try:
            from fleetlm_client.cli import main  # the server runs without it
        except ModuleNotFoundError as error:
            if error.name != "fleetlm_client":
                raise
            raise CommandError("The command is not installed: pip install -e 'clients/python[cli]'") from None
        main(args, url=_url(), name="manage.py client")


def _url() -> str:
    host = UNSPECIFIED.get(settings.FLEETLM.host, settings.FLEETLM.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.FLEETLM.port}"
