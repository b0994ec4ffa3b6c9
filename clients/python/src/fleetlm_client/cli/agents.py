"""`fleetlm agents`: who is called, where and how, and what is delivered to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fleetlm_client.cli.bodies import PAGE, Field, Json, given, pages_by, part
from fleetlm_client.cli.caller import Caller, calls_server
from fleetlm_client.cli.completing import complete_agents, complete_keys
from fleetlm_client.cli.failures import Exit
from fleetlm_client.cli.output import Record, columns, fields

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

agent_argument = click.argument("agent", shell_complete=complete_agents)
key_argument = click.argument("key", shell_complete=complete_keys)
limit_option = click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)


@click.group()
def agents() -> None:
    """Register agents, and see to what is delivered to them.

    AGENT is its id, KEY a conversation's key.
    """


def described(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how an agent is called; `--set` reaches every other field of the API."""
    for option in [
        click.option(
            "--set", "more", type=Field(), multiple=True, metavar="FIELD=JSON", help="Any other field."
        ),
        click.option("--metadata", type=Json(only_object=True), help="A JSON object."),
        click.option("--options", type=Json(only_object=True), help="The dialect's options, a JSON object."),
        click.option("--api-key", help="Sent with every call; never shown again."),
        click.option("--while-running", type=click.Choice(["queue", "interrupt"])),
        click.option("--context", type=Json(), help='A number of messages, "all", or {"tokens": N}.'),
        click.option("--trigger", type=click.Choice(["all", "mention", "none"])),
        click.option("--dialect", type=click.Choice(["webhook", "ag-ui", "openai"])),
        click.option("--display-name"),
        click.option("--enabled/--disabled", default=None),
    ]:
        command = option(command)
    return command


@agents.command("list")
@limit_option
@calls_server
def list_(caller: Caller, limit: int) -> None:
    """List agents by id."""

    async def work(fleet: AsyncFleetLM) -> None:
        left = limit
        after: dict[str, str] = {}
        while left > 0:
            page = await fleet.request("GET", "agents", query={**after, "limit": min(left, PAGE)})
            for one in page["agents"]:
                caller.output.show(one, _agent_line)
                after = {"after": one["id"]}
            left -= len(page["agents"])
            if not page["has_more"]:
                return

    caller.run(work)


def _agent_line(agent: Record) -> str:
    return columns("id", "state", "dialect", "trigger", "url")({**agent, "state": agent["health"]["state"]})


@agents.command()
@agent_argument
@calls_server
def show(caller: Caller, agent: str) -> None:
    """Show an agent, and how its calls fare."""
    _show(caller, "GET", _path(agent))


@agents.command()
@click.argument("agent")
@click.argument("endpoint", metavar="URL")
@described
@calls_server
def create(
    caller: Caller, agent: str, endpoint: str, more: tuple[tuple[str, Any], ...], **options: Any
) -> None:
    """Register an agent that is called at URL. The answer holds its signing secret, this once."""
    _show(caller, "POST", "agents", {**given(options), **dict(more), "id": agent, "url": endpoint})


@agents.command()
@agent_argument
@click.option("--endpoint", help="Where it is called: the URL.")
@described
@calls_server
def update(
    caller: Caller, agent: str, endpoint: str | None, more: tuple[tuple[str, Any], ...], **options: Any
) -> None:
    """Change where and how an agent is called."""
    _show(caller, "PATCH", _path(agent), {**given({**options, "url": endpoint}), **dict(more)})


@agents.command()
@agent_argument
@calls_server
def delete(caller: Caller, agent: str) -> None:
    """Call it no more. What it said stays."""
    caller.run(lambda fleet: fleet.request("DELETE", _path(agent)))


@agents.command()
@agent_argument
@calls_server
def test(caller: Caller, agent: str) -> int:
    """Make one test call now, and say what came of it. Exit code 1 if a real call would have failed."""
    found = _show(caller, "POST", f"{_path(agent)}/test")
    return Exit.DONE if found["ok"] else Exit.REFUSED


@agents.command()
@agent_argument
@click.option("--overlap-seconds", type=float, help="How long the old secret signs as well; a day otherwise.")
@calls_server
def rotate_secret(caller: Caller, agent: str, **options: Any) -> None:
    """Make a new signing secret, shown this once."""
    _show(caller, "POST", f"{_path(agent)}/rotate-secret", given(options))


@agents.command()
@agent_argument
@calls_server
def close_breaker(caller: Caller, agent: str) -> None:
    """Take the agent for well again: what waits is delivered now."""
    _show(caller, "POST", f"{_path(agent)}/close-breaker")


@agents.command()
@agent_argument
@click.option("--key", shell_complete=complete_keys, help="Of one conversation.")
@click.option("--outcome", help="answered, refused, timed_out …")
@limit_option
@calls_server
def attempts(caller: Caller, agent: str, limit: int, **options: Any) -> None:
    """List the calls that were made, newest first."""
    shown = columns("created_at", "key", "number", "outcome", "status", "duration_ms", "error")
    _show_pages(caller, f"{_path(agent)}/attempts", "attempts", "before", given(options), limit, shown)


@agents.command()
@agent_argument
@click.option(
    "--state", help="due, calling, retrying, blocked, parked, paused, handed_over, disabled or idle."
)
@limit_option
@calls_server
def streams(caller: Caller, agent: str, limit: int, **options: Any) -> None:
    """List what is delivered in each conversation, and how far it has got."""
    shown = columns("key", "state", "cursor", "last_seq", "lag", "due_at", "last_error")
    _show_pages(caller, f"{_path(agent)}/streams", "streams", "after", given(options), limit, shown)


@agents.command()
@agent_argument
@key_argument
@calls_server
def stream(caller: Caller, agent: str, key: str) -> None:
    """Show what is delivered in one conversation."""
    _show(caller, "GET", _stream_path(agent, key))


def _acts_on_stream(name: str, text: str) -> None:
    @agents.command(name, help=text)
    @agent_argument
    @key_argument
    @calls_server
    def act(caller: Caller, agent: str, key: str) -> None:
        _show(caller, "POST", f"{_stream_path(agent, key)}/{name}")


_acts_on_stream("retry", "Make the call that waits now, not later.")
_acts_on_stream("pause", "Make no calls for this conversation until it is resumed.")


@agents.command()
@agent_argument
@click.argument("key", required=False, shell_complete=complete_keys)
@calls_server
def resume(caller: Caller, agent: str, key: str | None) -> None:
    """Call again what was given up or paused; without KEY, all that was given up."""
    _show(caller, "POST", f"{_stream_path(agent, key) if key else _path(agent)}/resume")


@agents.command()
@agent_argument
@key_argument
@click.option("--seq", type=int, help="Give up all up to this message.")
@calls_server
def skip(caller: Caller, agent: str, key: str, **options: Any) -> None:
    """Give up the call that is pending: its messages are never delivered."""
    _show(caller, "POST", f"{_stream_path(agent, key)}/skip", given(options))


@agents.command()
@agent_argument
@key_argument
@click.argument("from_seq", type=int)
@calls_server
def rewind(caller: Caller, agent: str, key: str, from_seq: int) -> None:
    """Deliver everything from FROM_SEQ on again, as new calls."""
    _show(caller, "POST", f"{_stream_path(agent, key)}/rewind", {"from_seq": from_seq})


@agents.command()
@agent_argument
@key_argument
@click.argument("from_seq", type=int)
@click.argument("to_seq", type=int)
@calls_server
def redeliver(caller: Caller, agent: str, key: str, **seqs: int) -> None:
    """Deliver FROM_SEQ to TO_SEQ once more, as new calls, then go on where it was."""
    _show(caller, "POST", f"{_stream_path(agent, key)}/redeliver", seqs)


def _path(agent: str) -> str:
    return f"agents/{part(agent)}"


def _stream_path(agent: str, key: str) -> str:
    return f"{_path(agent)}/streams/{part(key)}"


def _show(caller: Caller, method: str, path: str, body: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = caller.run(lambda fleet: fleet.request(method, path, body=body))
    caller.output.show(found, fields)
    return found


def _show_pages(
    caller: Caller,
    path: str,
    listed: str,
    place: str,
    query: dict[str, Any],
    limit: int,
    shown: Callable[[Record], str],
) -> None:
    async def work(fleet: AsyncFleetLM) -> None:
        async for one in pages_by(fleet, path, listed, place, query, limit):
            caller.output.show(one, shown)

    caller.run(work)
