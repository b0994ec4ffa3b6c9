"""`manage.py replay`: show a conversation as it was written, or deliver it to an agent again."""

from argparse import ArgumentTypeError
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.operations import replay_from
from conversations.errors import FleetLMError
from conversations.models import Conversation
from conversations.rules import canonical_key

COLUMNS = (
    *("id", "seq", "sender_id", "kind", "text", "content", "metadata", "reply_to", "mentions", "client_id"),
    "created_at",
)


class Command(BaseCommand):
    help = "Print a conversation as JSON lines, oldest first; with --agent, call that agent again for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="The conversation's key, for example alice:shipping-bot.")
        parser.add_argument("--after", type=_seq, default=0, help="Print messages after this seq only.")
        parser.add_argument("--before", type=_seq, help="Print messages before this seq only.")
        parser.add_argument("--agent", help="Do not print: deliver to this agent again.")
        parser.add_argument("--from-seq", type=_seq, help="With --agent: the first message to deliver again.")

    def handle(
        self,
        *,
        key: str,
        after: int,
        before: int | None,
        agent: str | None,
        from_seq: int | None,
        **options: Any,
    ) -> None:
        if (agent is None) != (from_seq is None):
            raise CommandError("--agent and --from-seq go together.")
        try:
            key = canonical_key(key)
            if agent is not None and from_seq is not None:
                replay_from(key, agent, from_seq)
                self.stdout.write(f"{agent} is called again for {key} from message {from_seq} on.")
                return
        except FleetLMError as error:
            raise CommandError(str(error)) from error
        self._print(key, after, before)

    def _print(self, key: str, after: int, before: int | None) -> None:
        conversation = Conversation.objects.filter(key=key).first()
        if conversation is None:
            raise CommandError("There is no conversation with this key.")
        messages = conversation.messages.filter(seq__gt=after).order_by("seq")
        if before is not None:
            messages = messages.filter(seq__lt=before)
        for message in messages.values(*COLUMNS).iterator():
            line = message | {"conversation": conversation.key}
            self.stdout.write(orjson.dumps(line, option=orjson.OPT_UTC_Z).decode())


def _seq(value: str) -> int:
    if not value.isdigit():
        raise ArgumentTypeError("a seq is a whole number, 0 or more")
    return int(value)
