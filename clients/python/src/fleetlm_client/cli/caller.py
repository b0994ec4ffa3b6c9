"""What every command that speaks to a server is given: the options that say which, and the connection itself."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fleetlm_client.cli import profiles, target
from fleetlm_client.cli.completing import complete_profiles
from fleetlm_client.cli.output import Output
from fleetlm_client.cli.profiles import Profile
from fleetlm_client.cli.target import Target

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

RETRY_SECONDS = 5.0
"""Long enough for a server that is being restarted, short enough for one who waits."""

FOLLOW_RETRY_SECONDS = 15.0
"""The same for what is begun to go on for long. Once it has begun, it goes on however long the server is away."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Typed:
    """The options that say which server and as whom, as they were typed so far."""

    url: str | None = None
    token: str | None = None
    participant: str | None = None
    profile: str | None = None
    retry_for: float | None = None
    as_json: bool = False

    def then(self, other: Typed) -> Typed:
        """What was typed later goes first."""
        given = {name: value for name, value in vars(other).items() if value not in (None, False, "")}
        return replace(self, **given)


@dataclass(frozen=True)
class Setting:
    """What the whole command stands on: what was typed before the command's name, and the door's own server."""

    typed: Typed = Typed()
    url: str | None = None


@dataclass(frozen=True)
class Caller:
    """Who calls which server, and where the results go."""

    target: Target
    output: Output
    asked_for_json: bool = False
    retry_for: float | None = None
    """In seconds; None leaves it to the command."""

    @property
    def participant(self) -> str:
        """Who speaks and reads. Raises `click.UsageError` when nobody said so."""
        participant = self.target.participant or _subject(self.target.token)
        if participant is None:
            raise click.UsageError("Say who you are: --as ID, FLEETLM_AS, or a profile.")
        return participant

    def as_participant(self, participant: str | None) -> Caller:
        """The same, as someone else if one is named."""
        return replace(self, target=replace(self.target, participant=participant)) if participant else self

    def run(
        self, work: Callable[[AsyncFleetLM], Awaitable[T]], *, retry_for: float | None = RETRY_SECONDS
    ) -> T:
        """Do this with an open client, and close it. While the server is away it is tried for so many seconds."""
        import asyncio

        from fleetlm_client import AsyncFleetLM

        async def opened() -> T:
            async with AsyncFleetLM(
                self.target.url,
                participant_id=self.target.participant,
                token=self.target.token,
                retry_for=retry_for if self.retry_for is None else self.retry_for,
            ) as fleet:
                return await work(fleet)

        return asyncio.run(opened())


def _subject(token: str | None) -> str | None:
    """Whose token it is; None for an API key."""
    if token is None or token.count(".") != 2:
        return None
    from fleetlm_client.tokens import subject

    return subject(token)


def connection_options(command: F) -> F:
    """The options that say which server and as whom."""
    for option in reversed(
        [
            click.option("--url", help="The server; FLEETLM_URL."),
            click.option(
                "--token", help="An API key or participant token; better in FLEETLM_TOKEN or a profile."
            ),
            click.option("--as", "participant", metavar="ID", help="Who speaks and reads; FLEETLM_AS."),
            click.option(
                "--profile",
                help="A server by name, see `fleetlm profile`; FLEETLM_PROFILE.",
                shell_complete=complete_profiles,
            ),
            click.option(
                "--retry-for",
                type=click.FloatRange(min=0),
                metavar="SECONDS",
                help="How long to try while the server is away.",
            ),
            click.option("--json", "as_json", is_flag=True, help="JSON lines, at a terminal as well."),
        ]
    ):
        command = option(command)
    return command


def calls_server(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that speaks to a server: it has the options for it, and is given a `Caller` first."""

    @connection_options
    @click.pass_context
    @functools.wraps(command)
    def with_caller(
        context: click.Context,
        /,
        url: str | None,
        token: str | None,
        participant: str | None,
        profile: str | None,
        retry_for: float | None,
        as_json: bool,
        **options: Any,
    ) -> Any:
        typed = Typed(url, token, participant, profile, retry_for, as_json)
        return command(caller_of(context.ensure_object(Setting), typed), **options)

    return with_caller


def caller_of(setting: Setting, typed: Typed) -> Caller:
    """The caller that options, environment and profiles make together. Raises `click.UsageError`."""
    typed = setting.typed.then(typed)
    try:
        known = profiles.load(profiles.config_path(os.environ))
        found = target.resolve(
            Profile(typed.url, typed.token, typed.participant), typed.profile, os.environ, known, setting.url
        )
    except (target.UnknownProfile, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    output = Output(sys.stdout, as_json=typed.as_json or not sys.stdout.isatty())
    return Caller(found, output, typed.as_json, typed.retry_for)
