"""`fleetlm conversations`: groups and dms, their members and their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fleetlm_client.cli.bodies import Json, given, pages_by, part
from fleetlm_client.cli.caller import Caller, calls_server
from fleetlm_client.cli.completing import complete_keys
from fleetlm_client.cli.output import columns, fields

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

key_argument = click.argument("key", shell_complete=complete_keys)


@click.group()
def conversations() -> None:
    """Make, show and change conversations."""


@conversations.command("list")
@click.option("--kind", type=click.Choice(["dm", "group", "broadcast"]))
@click.option("--state", type=click.Choice(["open", "closed", "archived"]))
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@calls_server
def list_(caller: Caller, limit: int, **options: Any) -> None:
    """List conversations, newest first: your own with --as or a participant's token, otherwise all."""
    asked = given({**options, "participant_id": caller.target.participant})

    async def work(fleet: AsyncFleetLM) -> None:
        async for one in pages_by(fleet, "conversations", "conversations", "cursor", asked, limit):
            caller.output.show(one, columns("key", "kind", "state", "last_seq", "title"))

    caller.run(work)


@conversations.command()
@click.argument("key")
@click.argument("participants", nargs=-1)
@click.option("--title")
@click.option("--kind", type=click.Choice(["dm", "group", "broadcast"]), default="group", show_default=True)
@click.option(
    "--admin", "admins", multiple=True, metavar="ID", help="A member that may change it; repeatable."
)
@click.option("--metadata", type=Json(only_object=True), help="A JSON object.")
@calls_server
def create(
    caller: Caller, key: str, participants: tuple[str, ...], admins: tuple[str, ...], **options: Any
) -> None:
    """Make a conversation with these participants: fleetlm conversations create ops alice bob --title Operations."""
    members = [*participants, *({"id": one, "role": "admin"} for one in admins)]
    _show(caller, "POST", "conversations", {**given(options), "key": key, "participants": members})


@conversations.command()
@key_argument
@calls_server
def show(caller: Caller, key: str) -> None:
    """Show a conversation with its members."""
    _show(caller, "GET", _path(key))


@conversations.command()
@key_argument
@click.option("--title")
@click.option("--metadata", type=Json(only_object=True), help="A JSON object; it replaces the one before.")
@calls_server
def update(caller: Caller, key: str, **options: Any) -> None:
    """Change the title or the metadata."""
    _show(caller, "PATCH", _path(key), given(options))


@conversations.command()
@key_argument
@click.argument("participants", nargs=-1, required=True)
@click.option("--role", type=click.Choice(["member", "admin"]), default="member", show_default=True)
@calls_server
def add(caller: Caller, key: str, participants: tuple[str, ...], role: str) -> None:
    """Add members. What was said before they came is not unread for them."""
    members = [{"id": one, "role": role} for one in participants]
    _show(caller, "POST", f"{_path(key)}/participants", {"participants": members})


@conversations.command()
@key_argument
@click.argument("participants", nargs=-1, required=True)
@calls_server
def remove(caller: Caller, key: str, participants: tuple[str, ...]) -> None:
    """Remove members, or leave: from then on they read and write nothing here."""

    async def work(fleet: AsyncFleetLM) -> None:
        for one in participants:
            caller.output.show(
                await fleet.request("DELETE", f"{_path(key)}/participants/{part(one)}"), fields
            )

    caller.run(work)


def _changes_state(name: str, text: str) -> None:
    @conversations.command(name, help=text)
    @key_argument
    @calls_server
    def change(caller: Caller, key: str) -> None:
        _show(caller, "POST", f"{_path(key)}/{name}")


_changes_state("close", "Take no more messages.")
_changes_state("archive", "Take no more messages, and leave the inboxes.")
_changes_state("reopen", "Undo close and archive.")


@conversations.command()
@key_argument
@click.argument("person", required=False)
@click.option("--back", is_flag=True, help="The agents have it again, with all that they missed.")
@calls_server
def handoff(caller: Caller, key: str, person: str | None, back: bool) -> None:
    """Let a member, a person, take over from the agents; --back gives the conversation back to them."""
    if back == (person is not None):
        raise click.UsageError("Name who takes over, or say --back.")
    _show(caller, "POST", f"{_path(key)}/handoff", {"participant_id": person})


def _path(key: str) -> str:
    return f"conversations/{part(key)}"


def _show(caller: Caller, method: str, path: str, body: Any = None) -> None:
    caller.output.show(caller.run(lambda fleet: fleet.request(method, path, body=body)), fields)
