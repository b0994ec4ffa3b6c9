"""`fleetlm token`, `status`, `request` and `mcp`."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any

import click

from fleetlm_client.cli.bodies import Field, Json, given
from fleetlm_client.cli.caller import Caller, calls_server
from fleetlm_client.cli.failures import Exit, Failed
from fleetlm_client.cli.output import Record, fields

HEALTH_SECONDS = 10.0


@click.command()
@click.argument("participant_id", metavar="PARTICIPANT")
@click.option("--ttl", type=click.IntRange(min=1), metavar="SECONDS", help="How long it is good for.")
@click.option("--conversation", "keys", multiple=True, metavar="KEY", help="For this one only; repeatable.")
@calls_server
def token(caller: Caller, participant_id: str, ttl: int | None, keys: tuple[str, ...]) -> None:
    """Mint a participant's token. At a terminal it is printed alone, to be copied."""
    body = given({"participant_id": participant_id, "ttl": ttl, "conversations": list(keys) or None})
    minted = caller.run(lambda fleet: fleet.request("POST", "tokens", body=body))
    caller.output.show(minted, lambda record: str(record["token"]))


@click.command()
@calls_server
def status(caller: Caller) -> int:
    """Is the server well? Exit code 0 if it serves, 3 if it does not."""
    serves, health = _health(caller.target.url)
    caller.output.show({"url": caller.target.url, **health}, fields)
    return Exit.DONE if serves else Exit.UNREACHABLE


def _health(url: str) -> tuple[bool, dict[str, Any]]:
    """Whether it serves, and what it says of itself. Asked once: a server that is unwell is an answer, not an error."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=HEALTH_SECONDS) as answer:  # noqa: S310
            return True, json.load(answer)
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError):
            return False, json.load(error)
        raise Failed(
            f"{url} answered {error.code}, and not as FleetLM does.", code="invalid_answer"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Failed(
            f"{url} cannot be reached: {reason}", code="unreachable", exit_code=Exit.UNREACHABLE
        ) from None


@click.command()
@click.argument("method", type=click.Choice(["GET", "POST", "PATCH", "PUT", "DELETE"], case_sensitive=False))
@click.argument("path")
@click.argument("body", type=Json(), required=False)
@click.option("--query", type=Field(), multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@calls_server
def request(caller: Caller, method: str, path: str, body: Any, query: tuple[tuple[str, Any], ...]) -> None:
    """Make any call of the REST API: fleetlm request GET agents

    PATH is below /api; with a leading slash it is below the server. BODY is JSON, or - to read it from the input.
    """
    asked = dict(query) or None
    found = caller.run(lambda fleet: fleet.request(method, path, body=body, query=asked))
    if found is not None:
        caller.output.show(found, _as_fields)


def _as_fields(record: Record) -> str:
    return fields(record) if isinstance(record, dict) else str(record)


@click.command()
@calls_server
def mcp(caller: Caller) -> None:
    """Serve conversations to a model over standard input and output (Model Context Protocol)."""
    try:
        from fleetlm_client.mcp import serve
    except ModuleNotFoundError as error:
        raise Failed(
            f"{error}. It needs: pip install 'fleetlm[mcp]'", code="usage", exit_code=Exit.USAGE
        ) from None
    serve(caller.target.url, token=caller.target.token, participant_id=caller.participant)
