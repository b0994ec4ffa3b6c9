"""`fleetlm profile`: servers by name."""

from __future__ import annotations

import os
import sys

import click

from fleetlm_client.cli import profiles
from fleetlm_client.cli.completing import complete_profiles
from fleetlm_client.cli.output import Output, Record, columns
from fleetlm_client.cli.profiles import Profile, Profiles
from fleetlm_client.cli.target import DEFAULT_URL

FROM_INPUT = "-"


@click.group()
def profile() -> None:
    """Servers by name: where each is, and as whom you speak there.

    They are kept in ~/.config/fleetlm/profiles.json (or below XDG_CONFIG_HOME), which only you can read.
    """


@profile.command()
@click.argument("name")
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The server.")
@click.option("--token", help="An API key or participant token; - asks for it, or reads it from a pipe.")
@click.option("--as", "participant", metavar="ID", help="Who speaks and reads.")
@click.option("--use", is_flag=True, help="Use it from now on; the first one is used anyway.")
def add(name: str, url: str, token: str | None, participant: str | None, use: bool) -> None:
    """Keep a profile, or put another in its place."""
    held = _load()
    held.by_name[name] = Profile(url.rstrip("/"), _secret(token), participant)
    if use or held.used is None:
        held.used = name
    _save(held)


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, at a terminal as well.")
def list_(as_json: bool) -> None:
    """Show all profiles, but no tokens."""
    held = _load()
    output = Output(sys.stdout, as_json=as_json or not sys.stdout.isatty())
    for name, one in sorted(held.by_name.items()):
        shown = {
            "used": name == held.used,
            "name": name,
            "url": one.url,
            "as": one.participant,
            "has_token": one.token is not None,
        }
        output.show(shown, _line)


def _line(profile: Record) -> str:
    return ("* " if profile["used"] else "  ") + columns("name", "url", "as")(profile)


@profile.command()
@click.argument("name", shell_complete=complete_profiles)
def use(name: str) -> None:
    """Use this profile from now on."""
    held = _load()
    _require(held, name)
    held.used = name
    _save(held)


@profile.command()
@click.argument("name", shell_complete=complete_profiles)
def remove(name: str) -> None:
    """Forget a profile."""
    held = _load()
    _require(held, name)
    del held.by_name[name]
    held.used = None if held.used == name else held.used
    _save(held)


def _load() -> Profiles:
    try:
        return profiles.load(profiles.config_path(os.environ))
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _save(held: Profiles) -> None:
    try:
        held.save()
    except OSError as error:
        raise click.ClickException(f"The profiles cannot be written: {error}") from None


def _require(held: Profiles, name: str) -> None:
    if name not in held.by_name:
        raise click.UsageError(f"There is no profile called {name}.")


def _secret(token: str | None) -> str | None:
    if token != FROM_INPUT:
        return token
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True))
    return sys.stdin.readline().strip() or None
