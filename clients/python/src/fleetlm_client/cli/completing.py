"""What a shell offers after Tab: quick, and silent when the server is not there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import click

from fleetlm_client.cli.target import Target

SECONDS = 1.0
"""Nobody waits longer for a suggestion."""

SHOWN = 200


def complete_profiles(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Names of profiles."""
    from fleetlm_client.cli import profiles

    try:
        names = profiles.load(profiles.config_path(os.environ)).by_name
    except (ValueError, OSError):
        return []
    return sorted(name for name in names if name.startswith(typed))


def complete_keys(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Keys of conversations: one's own, or the newest of all where nobody said who asks."""
    return _keys(_target(context), typed)


def _keys(target: Target | None, typed: str) -> list[str]:
    from fleetlm_client.cli.bodies import part

    if target is None:
        return []
    path = f"inbox/{part(target.participant)}" if target.participant else f"conversations?limit={SHOWN}"
    found = _ask(target, path)
    return _ids(found, "conversations", "key", typed)


def complete_agents(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Ids of agents."""
    target = _target(context)
    return [] if target is None else _ids(_ask(target, f"agents?limit={SHOWN}"), "agents", "id", typed)


def complete_whom(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Whom one may talk to: an agent, or what is in the inbox."""
    target = _target(context)
    who = context.params.get("who")
    if target is not None and who:
        target = replace(target, participant=who[0])
    return sorted({*complete_agents(context, parameter, typed), *_keys(target, typed)})


def _target(context: click.Context) -> Target | None:
    from fleetlm_client.cli.caller import Setting, Typed, caller_of

    typed, here = Typed(), context
    while True:
        said = {name: here.params[name] for name in vars(typed) if here.params.get(name)}
        typed = Typed(**said).then(typed)
        if here.parent is None:
            break
        here = here.parent
    try:
        return caller_of(Setting(), typed).target
    except click.ClickException:
        return None


def _ask(target: Target, path: str) -> dict[str, Any]:
    """What the server says, through the standard library: the SDK takes too long to import for this."""
    from urllib.request import Request, urlopen

    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    try:
        with urlopen(Request(f"{target.url}/api/{path}", headers=headers), timeout=SECONDS) as answer:  # noqa: S310
            found = json.load(answer)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _ids(found: dict[str, Any], listed: str, field: str, typed: str) -> list[str]:
    return [one[field] for one in found.get(listed, []) if one[field].startswith(typed)]
