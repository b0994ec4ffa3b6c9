"""`manage.py configuration [--check]`: the page of all settings."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fleetlm.configuration_page import PAGE, render


class Command(BaseCommand):
    help = (
        "Write docs/configuration.md from the class that reads the settings, or check that it is up to date."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; exit with 1 if it is out of date"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        page = render()
        if not options["check"]:
            PAGE.parent.mkdir(exist_ok=True)
            PAGE.write_text(page, encoding="utf-8")
        elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            raise CommandError("docs/configuration.md is out of date; run: manage.py configuration")
