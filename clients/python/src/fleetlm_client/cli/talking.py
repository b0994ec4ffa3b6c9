"""`fleetlm chat`: on a screen for people, line by line for programs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from fleetlm_client.cli.caller import Caller, calls_server
from fleetlm_client.cli.completing import complete_whom
from fleetlm_client.cli.failures import Exit, Failed

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

PIPED_RETRY_SECONDS = 60.0
"""So long a line of a program waits for a server that is away."""


@click.command()
@click.argument("who", nargs=-1, required=True, metavar="[ME] WHOM", shell_complete=complete_whom)
@click.option(
    "--last",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Over pipes: begin with so many.",
)
@click.option(
    "--wait",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Over pipes: listen longer after the input's end.",
)
@calls_server
def chat(caller: Caller, who: tuple[str, ...], last: int, wait: float) -> int:
    """Talk: fleetlm chat alice echo-bot

    WHOM is the key of a conversation, an agent or a person. Over pipes: lines of text or JSON in, JSON lines out, agents'
    answers too.
    """
    if len(who) > 2:
        raise click.UsageError("Say who you are, and whom you talk to: fleetlm chat alice echo-bot")
    if len(who) == 2:
        caller = caller.as_participant(who[0])
    key = caller.run(lambda fleet: _key_of(fleet, caller.participant, who))
    if sys.stdin.isatty() and sys.stdout.isatty() and not caller.asked_for_json:
        return _on_screen(caller, key)
    return _line_by_line(caller, key, last, wait)


async def _key_of(fleet: AsyncFleetLM, me: str, who: tuple[str, ...]) -> str:
    from fleetlm_client.cli.whom import conversation_with, is_known

    whom = who[-1]
    key = await conversation_with(fleet, me, whom)
    if len(who) == 1 and ":" not in whom and key != whom and not await is_known(fleet, whom):
        # Who said both names means them; one alone may well be a key that is misspelled.
        raise Failed(f"There is no conversation and nobody called {whom}.", code="conversation_not_found")
    return key


def _on_screen(caller: Caller, key: str) -> int:
    try:
        from fleetlm_client.cli.terminal.app import ChatApp
    except ModuleNotFoundError as error:
        raise Failed(
            f"{error}. It needs: pip install 'fleetlm[cli]'", code="usage", exit_code=Exit.USAGE
        ) from None
    # What is sent while the server is away waits for it, however long that takes.
    caller.run(lambda fleet: ChatApp(fleet, caller.participant, key).run_async(), retry_for=None)
    return Exit.DONE


def _line_by_line(caller: Caller, key: str, last: int, wait: float) -> int:
    from fleetlm_client.cli.talk import Talk

    async def work(fleet: AsyncFleetLM) -> int:
        talk = Talk(fleet, key, caller.participant, caller.output)
        await talk.run(_bodies(), last=last, settle=not sys.stdin.isatty(), linger=wait)
        return Exit.REFUSED if talk.refused else Exit.DONE

    return caller.run(work, retry_for=PIPED_RETRY_SECONDS)


async def _bodies() -> AsyncIterator[Mapping[str, Any]]:
    from fleetlm_client.cli.lines import message_of, read_lines

    async for line in read_lines(sys.stdin):
        body = message_of(line)
        if body is not None:
            yield body
