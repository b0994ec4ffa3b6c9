"""`fleetlm inbox`: one's conversations with their unread counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetlm_client.cli.bodies import part
from fleetlm_client.cli.caller import FOLLOW_RETRY_SECONDS, Caller, calls_server
from fleetlm_client.cli.output import Record, entry_line

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM


@click.command()
@click.option("--follow", is_flag=True, help="Go on with every conversation that changes.")
@calls_server
def inbox(caller: Caller, follow: bool) -> None:
    """Print your conversations, newest first, one a line."""
    participant = caller.participant

    async def once(fleet: AsyncFleetLM) -> None:
        found = await fleet.request("GET", f"inbox/{part(participant)}")
        for entry in found["conversations"]:
            caller.output.show(entry, entry_line)

    async def for_ever(fleet: AsyncFleetLM) -> None:
        shown: dict[str, Record] = {}
        async for entries, removed in fleet.follow_inbox():
            for entry in entries:
                # After a loss all of it comes again.
                if shown.get(entry.key) != entry.raw:
                    shown[entry.key] = entry.raw
                    caller.output.show(entry.raw, entry_line)
            for key in removed:
                shown.pop(key, None)
                caller.output.show({"key": key, "removed": True}, lambda gone: f"   – {gone['key']}")

    if follow:
        caller.run(for_ever, retry_for=FOLLOW_RETRY_SECONDS)
    else:
        caller.run(once)
