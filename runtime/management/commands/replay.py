"""`manage.py replay`: show a conversation as it was written, or see to what is delivered of it, or of many."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import bulk, operations, stream_queries
from agents.models import AgentEndpoint, DeliveryStream, Endpoint, Subscription
from conversations.errors import FleetLMError
from conversations.models import Conversation
from conversations.rules import canonical_key

COLUMNS = (
    *("id", "seq", "sender_id", "kind", "text", "content", "metadata", "reply_to", "mentions", "client_id"),
    "created_at",
)

MAX_SEQ: Final = 2**63 - 1
ACTIONS: Final = ("resume", "skip", "pause", "retry")
RATE: Final = 10.0


class Command(BaseCommand):
    help = (
        "Print a conversation as JSON lines, oldest first. With --agent or --subscription: deliver it there again "
        "(--from-seq), or --resume, --skip, --pause or --retry what is delivered. Without a key: in all conversations."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", nargs="?", help="The conversation's key, for example alice:shipping-bot.")
        parser.add_argument("--after", type=_seq, help="Print messages after this seq only.")
        parser.add_argument("--before", type=_seq, help="Print messages before this seq only.")
        parser.add_argument("--agent", help="Do not print: deliver to this agent.")
        parser.add_argument("--subscription", type=_uuid, help="Do not print: deliver to this subscription.")
        parser.add_argument("--from-seq", type=_seq, help="Deliver again from this message on.")
        parser.add_argument("--to-seq", type=_seq, help="With --from-seq: no further than to this message.")
        parser.add_argument(
            "--since",
            type=_time,
            help="Without a key: deliver again what was written since, such as 2026-11-01T00:00:00Z.",
        )
        parser.add_argument(
            "--rate",
            type=_rate,
            help=f"Conversations per second, with --since ({RATE:g} by default) or --resume (all at once by default). "
            "The command need not run meanwhile: the times are stored.",
        )
        parser.add_argument("--resume", action="store_true", help="Call again what was parked.")
        parser.add_argument(
            "--skip", action="store_true", help="Give up the call that is pending, and go on after it."
        )
        parser.add_argument("--pause", action="store_true", help="Make no more calls until they are resumed.")
        parser.add_argument("--retry", action="store_true", help="Make at once what waits to be tried again.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(
                {name: value for name, value in options.items() if value is not None and value is not False}
            )
        except FleetLMError as error:
            raise CommandError(str(error)) from error

    def _handle(self, given: dict[str, Any]) -> None:
        endpoint = _endpoint(given)
        key = canonical_key(given["key"]) if "key" in given else None
        if endpoint is None:
            _refuse(
                given, "from_seq", "to_seq", "since", "rate", *ACTIONS, why="needs --agent or --subscription"
            )
            if key is None:
                raise CommandError("Name a conversation by its key.")
            self._print(key, given.get("after", 0), given.get("before"))
            return
        _refuse(given, "after", "before", why="is for printing")
        wanted = [name for name in ("from_seq", "since", *ACTIONS) if name in given]
        if len(wanted) != 1:
            flags = ", ".join(_flag(name) for name in ("from_seq", "since", *ACTIONS))
            raise CommandError(f"Say what to do, one of {flags}.")
        if key is None:
            self._all(endpoint, wanted[0], given)
        else:
            self._one(endpoint, key, wanted[0], given)

    def _one(self, endpoint: Endpoint, key: str, what: str, given: dict[str, Any]) -> None:
        _refuse(given, "since", "rate", why="is for all conversations: leave the key out")
        stream = operations.find_stream(key, id=endpoint.id)
        if what == "from_seq":
            self._deliver_again(stream, endpoint, given)
            return
        _refuse(given, "to_seq", why="goes with --from-seq")
        _act_on_one(stream, what)
        stream = operations.find_stream(key, id=endpoint.id)
        self.stdout.write(f"{endpoint.name} over {key}: {stream_queries.state(stream)}, at {stream.cursor}.")

    def _deliver_again(self, stream: DeliveryStream, endpoint: Endpoint, given: dict[str, Any]) -> None:
        key, from_seq, to_seq = stream.conversation.key, given["from_seq"], given.get("to_seq")
        if to_seq is None:
            operations.rewind(stream, from_seq)
            self.stdout.write(f"{endpoint.name} is called again for {key} from message {from_seq} on.")
        else:
            operations.redeliver(stream, from_seq, to_seq)
            self.stdout.write(f"{endpoint.name} is called again for {key}, messages {from_seq} to {to_seq}.")

    def _all(self, endpoint: Endpoint, what: str, given: dict[str, Any]) -> None:
        _refuse(given, "from_seq", "to_seq", why="needs the key of a conversation")
        rate = given.get("rate")
        if rate is not None and what not in ("since", "resume"):
            raise CommandError("--rate goes with --since or --resume.")
        if what == "since":
            count = bulk.rewind_since(endpoint, given["since"], rate or RATE)
        elif what == "resume":
            count = bulk.resume(endpoint, rate)
        else:
            count = _BULK[what](endpoint)
        self.stdout.write(f"{endpoint.name}: {_DONE[what]} in {count} conversations.")

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


_BULK: Final[dict[str, Callable[[Endpoint], int]]] = {
    "skip": bulk.skip,
    "pause": bulk.pause,
    "retry": bulk.retry,
}
_DONE: Final = {
    "since": "called again",
    "resume": "resumed",
    "skip": "skipped",
    "pause": "paused",
    "retry": "retried",
}


def _act_on_one(stream: DeliveryStream, what: str) -> None:
    alone = DeliveryStream.objects.filter(id=stream.id)
    if what == "skip":
        operations.skip(stream)
    elif what == "resume":
        operations.resume(alone)
    elif what == "pause":
        operations.park(alone)
    elif stream.parked_at is not None:
        raise CommandError("It is parked or paused: --resume it.")
    else:
        operations.retry_now(alone)


def _endpoint(given: dict[str, Any]) -> Endpoint | None:
    found: Endpoint | None
    if "agent" in given and "subscription" in given:
        raise CommandError("Give --agent or --subscription, not both.")
    if "agent" in given:
        found = AgentEndpoint.objects.filter(agent_id=given["agent"]).first()
    elif "subscription" in given:
        found = Subscription.objects.filter(public_id=given["subscription"]).first()
    else:
        return None
    if found is None:
        raise CommandError("There is no such agent or subscription.")
    return found


def _refuse(given: dict[str, Any], *names: str, why: str) -> None:
    for name in names:
        if name in given:
            raise CommandError(f"{_flag(name)} {why}.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _seq(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= MAX_SEQ):
        raise ArgumentTypeError("a seq is a whole number, 0 or more")
    return int(value)


def _uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise ArgumentTypeError("the id of a subscription is a UUID") from None


def _rate(value: str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 100_000:
        raise ArgumentTypeError("a rate is a number of conversations per second, 0.001 to 100000")
    return rate


def _time(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ArgumentTypeError("a time looks like 2026-11-01T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
