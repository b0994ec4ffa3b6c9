"""`fleetlm send`, `tail`, `history`, `search`, `read` and `replay`."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

from fleetlm_client.cli.bodies import PAGE, Json, given, part
from fleetlm_client.cli.caller import FOLLOW_RETRY_SECONDS, Caller, calls_server
from fleetlm_client.cli.completing import complete_keys
from fleetlm_client.cli.failures import Exit
from fleetlm_client.cli.output import Record, found_line, message_line

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

FROM_INPUT = "-"

key_argument = click.argument("key", shell_complete=complete_keys)
seq = click.IntRange(min=0)


@click.command()
@key_argument
@click.argument("text")
@click.option("--client-id", help="A retry with the same one is stored once.")
@click.option("--reply-to", type=seq, metavar="SEQ")
@click.option("--kind", help="What the content is; text otherwise.")
@click.option("--content", type=Json(only_object=True), help="A JSON object.")
@click.option("--metadata", type=Json(only_object=True), help="A JSON object.")
@click.option(
    "--wait-answer", is_flag=True, help="Wait for what agents say to it. Exit code 4 if they say nothing."
)
@calls_server
def send(
    caller: Caller, key: str, text: str, client_id: str | None, wait_answer: bool, **options: Any
) -> int:
    """Send one message, and print it as stored. TEXT - is read from the input."""
    said = sys.stdin.read() if text == FROM_INPUT else text
    body = {"client_id": client_id or str(uuid.uuid4()), **given({**options, "text": said})}
    if wait_answer:
        return _ask(caller, key, body)
    body["sender_id"] = caller.participant
    path = f"conversations/{part(key)}/messages"
    stored = caller.run(
        lambda fleet: fleet.request("POST", path, body=body, idempotency_key=body["client_id"])
    )
    caller.output.show(stored, message_line)
    return Exit.DONE


def _ask(caller: Caller, key: str, body: dict[str, Any]) -> int:
    """Send it, and print what is said until agents have answered."""
    from fleetlm_client.cli.talk import Talk, only

    async def work(fleet: AsyncFleetLM) -> int:
        talk = Talk(fleet, key, caller.participant, caller.output)
        await talk.run(only(body), last=0, settle=True)
        if talk.refused:
            return Exit.REFUSED
        return Exit.DONE if talk.answered else Exit.NO_ANSWER

    return caller.run(work)


@click.command()
@key_argument
@click.option("--after", type=seq, metavar="SEQ", help="Begin after this one; 0 begins with the first.")
@click.option("--last", type=seq, default=10, show_default=True, help="Else begin with so many.")
@calls_server
def tail(caller: Caller, key: str, after: int | None, last: int) -> None:
    """Print messages as they come, without a hole or a repeat, whatever happens between."""
    from fleetlm_client.cli.follow import tail_of

    caller.run(
        lambda fleet: tail_of(caller.output, fleet.conversation(key), after, last),
        retry_for=FOLLOW_RETRY_SECONDS,
    )


@click.command()
@key_argument
@click.option("--before", type=seq, metavar="SEQ")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@calls_server
def history(caller: Caller, key: str, before: int | None, limit: int) -> None:
    """Print older messages, oldest first."""
    for message in caller.run(lambda fleet: _newest(fleet, key, before, limit)):
        caller.output.show(message, message_line)


async def _newest(fleet: AsyncFleetLM, key: str, before: int | None, limit: int) -> list[Record]:
    """The newest messages before a seq, oldest first, however many pages they take."""
    pages: list[list[Record]] = []
    left = limit
    while left > 0:
        query = given({"limit": min(left, PAGE), "before": before})
        page = await fleet.request("GET", f"conversations/{part(key)}/messages", query=query)
        pages.append(page["messages"])
        left -= len(page["messages"])
        if not page["has_more"] or not page["messages"]:
            break
        before = page["messages"][0]["seq"]
    return [message for page in reversed(pages) for message in page]


@click.command()
@key_argument
@click.option("--after", type=seq, default=0, metavar="SEQ")
@click.option("--before", type=seq, metavar="SEQ")
@calls_server
def replay(caller: Caller, key: str, after: int, before: int | None) -> None:
    """Print a whole conversation, oldest first: JSON lines, at a terminal as well."""

    async def work(fleet: AsyncFleetLM) -> None:
        place, more = after, True
        while more:
            query = {"after": place, "limit": PAGE}
            page = await fleet.request("GET", f"conversations/{part(key)}/messages", query=query)
            for message in page["messages"]:
                place = message["seq"]
                if before is not None and place >= before:
                    return
                caller.output.as_record(message)
            more = page["has_more"]

    caller.run(work)


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--in", "key", shell_complete=complete_keys, metavar="KEY", help="In one conversation.")
@click.option("--limit", type=click.IntRange(min=1, max=PAGE), default=20, show_default=True)
@calls_server
def search(caller: Caller, words: tuple[str, ...], key: str | None, limit: int) -> None:
    """Find messages by their words."""

    async def work(fleet: AsyncFleetLM) -> None:
        found, cursor = 0, None
        while found < limit:
            page = await fleet.search(" ".join(words), key=key, cursor=cursor, limit=limit - found)
            for message in page.messages:
                caller.output.show(message.raw, found_line)
            found, cursor = found + len(page.messages), page.cursor
            if cursor is None:
                return

    caller.run(work)


@click.command()
@key_argument
@click.argument("seq_", metavar="[SEQ]", type=seq, required=False)
@calls_server
def read(caller: Caller, key: str, seq_: int | None) -> None:
    """Say that you have read up to SEQ; without it, all that is there."""

    async def work(fleet: AsyncFleetLM) -> Record:
        newest = seq_
        if newest is None:
            newest = (await fleet.request("GET", f"conversations/{part(key)}"))["last_seq"]
        body = {"participant_id": caller.participant, "seq": newest}
        moved: Record = await fleet.request("POST", f"conversations/{part(key)}/read", body=body)
        return moved

    caller.output.show(
        caller.run(work), lambda moved: f"{moved['participant_id']} has read up to {moved['seq']}"
    )
