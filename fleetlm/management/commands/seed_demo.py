"""`manage.py seed_demo`: what the examples of the README speak of. `manage.py up` runs it at every start."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from agents.models import AgentEndpoint
from agents.registration import register_agent, update_agent
from conversations.models import Conversation, Participant
from runtime import members

AGENT: Final = "echo-bot"
PEOPLE: Final = {"alice": "Alice", "bob": "Bob"}
LOUNGE: Final = "lounge"


class Command(BaseCommand):
    help = "Make the demo's people, agent, conversation and superuser, as far as they are missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--admin-password-file",
            type=Path,
            help="make the superuser `admin` with the password in this file",
        )
        parser.add_argument(
            "--agent-url", help=f"where the agent `{AGENT}` is called; changed if it is another now"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for participant_id, name in PEOPLE.items():
            Participant.objects.get_or_create(id=participant_id, defaults={"display_name": name})
        if options["agent_url"]:
            self._agent(options["agent_url"])
        if options["admin_password_file"]:
            self._superuser(options["admin_password_file"])
        self._lounge()

    def _agent(self, url: str) -> None:
        endpoint = AgentEndpoint.objects.filter(agent_id=AGENT).first()
        if endpoint is None:
            register_agent(AGENT, url, display_name="Echo bot")
            self.stdout.write(f"registered {AGENT} at {url}")
        elif endpoint.url != url:
            update_agent(AGENT, url=url)
            self.stdout.write(f"{AGENT} is at {url} now")

    def _superuser(self, file: Path) -> None:
        try:
            password = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CommandError(f"cannot read the password of admin: {error}") from None
        if not password:
            raise CommandError(f"cannot make admin: {file} is empty")
        users = get_user_model().objects
        admin = users.filter(username="admin").first()
        if admin is None:
            users.create_superuser("admin", password=password)
            self.stdout.write("made the superuser admin")
        elif not admin.check_password(password):
            # Its own password may have been set by hand; that one stays.
            self.stderr.write(
                f"the password of admin is not the one in {file}; change it with: changepassword admin"
            )

    def _lounge(self) -> None:
        """A group of all of them; nobody who left it is brought back."""
        if Conversation.objects.filter(key=LOUNGE).exists():
            return
        names = [*PEOPLE, AGENT]
        here = Participant.objects.filter(id__in=names).values_list("id", flat=True)
        members.create(LOUNGE, Conversation.Kind.GROUP, dict.fromkeys(sorted(here), "member"), title="Lounge")
        self.stdout.write(f"made the conversation {LOUNGE}")
