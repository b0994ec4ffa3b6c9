"""`manage.py createapikey NAME --scope read --scope write`: an API key for a server."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from fleetlm.auth.keys import make_key
from fleetlm.models import ApiKey


class Command(BaseCommand):
    help = "Make an API key and print it, once. On standard output there is the key and nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for, as the admin shows it")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            required=True,
            choices=ApiKey.SCOPES,
            help="what it may do; repeat it for several",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key, shown_once = make_key(options["name"], options["scopes"])
        self.stdout.write(shown_once)
        if self.stdout.isatty():
            self.stderr.write(f"{key} may {', '.join(key.scopes)}. Keep it now: it cannot be shown again.")
