"""Which server, with which token, as whom: what was typed, the environment, profiles and defaults, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetlm_client.cli.profiles import Profile, Profiles

DEFAULT_URL = "http://127.0.0.1:4000"


class UnknownProfile(Exception):
    """There is no profile of this name."""


@dataclass(frozen=True)
class Target:
    """The server to call, and as whom."""

    url: str
    token: str | None
    participant: str | None


def resolve(
    typed: Profile,
    named: str | None,
    environment: Mapping[str, str],
    profiles: Profiles,
    url: str | None = None,
) -> Target:
    """The first that says it wins, of: what was typed; the profile that was named there; `FLEETLM_URL`,
    `FLEETLM_TOKEN` and `FLEETLM_AS`; `url`; the profile of `FLEETLM_PROFILE`, else the one in use; the default.

    With `url` the profile in use counts for nothing. A profile's token goes to that profile's server only. Raises
    `UnknownProfile`.
    """
    by_environment = environment.get("FLEETLM_PROFILE") or None
    used = by_environment or (profiles.used if url is None else None)
    layers = [
        typed,
        _bound(_find(profiles, named)),
        _of_environment(environment),
        Profile(url=url),
        _bound(_find(profiles, used)),
    ]
    chosen = (_first([one.url for one in layers]) or DEFAULT_URL).rstrip("/")
    tokens = [one.token for one in layers if not isinstance(one, _Bound) or one.url == chosen]
    return Target(chosen, _first(tokens), _first([one.participant for one in layers]))


class _Bound(Profile):
    """A profile out of the file: its token is for its server."""


def _bound(profile: Profile | None) -> _Bound:
    if profile is None:
        return _Bound()
    return _Bound((profile.url or DEFAULT_URL).rstrip("/"), profile.token, profile.participant)


def _find(profiles: Profiles, name: str | None) -> Profile | None:
    if name is None:
        return None
    try:
        return profiles.by_name[name]
    except KeyError:
        raise UnknownProfile(f"There is no profile called {name}. See: fleetlm profile list") from None


def _of_environment(environment: Mapping[str, str]) -> Profile:
    return Profile(
        environment.get("FLEETLM_URL"), environment.get("FLEETLM_TOKEN"), environment.get("FLEETLM_AS")
    )


def _first(values: Sequence[str | None]) -> str | None:
    return next((one for one in values if one), None)
