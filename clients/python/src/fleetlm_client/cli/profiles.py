"""Profiles: servers by name, kept in one file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

DIRECTORY = "fleetlm"
FILE = "profiles.json"


@dataclass(frozen=True)
class Profile:
    """Where a server is, and as whom it is spoken to. What is None comes from elsewhere."""

    url: str | None = None
    token: str | None = None
    participant: str | None = None


@dataclass
class Profiles:
    """All profiles, and the name of the one in use."""

    path: Path
    used: str | None = None
    by_name: dict[str, Profile] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file as a whole, readable by nobody else. Raises `OSError`."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = {"use": self.used, "profiles": {name: asdict(one) for name, one in self.by_name.items()}}
        # A file made by mkstemp is 0600 from its first moment.
        descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=FILE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(held, file, indent=2)
                file.write("\n")
            os.replace(temporary, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def config_path(environment: Mapping[str, str]) -> Path:
    """Where profiles are kept: `$XDG_CONFIG_HOME/fleetlm`, `~/.config/fleetlm`, or `%APPDATA%` on Windows."""
    if sys.platform == "win32" and environment.get("APPDATA"):
        base = Path(environment["APPDATA"])
    else:
        base = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / DIRECTORY / FILE


def load(path: Path) -> Profiles:
    """The profiles in a file; none where there is no file. Raises `ValueError` for a file that is something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        by_name = {str(name): _profile(one) for name, one in held["profiles"].items()}
        return Profiles(path, _text(held.get("use")), by_name)
    except FileNotFoundError:
        return Profiles(path)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no file of profiles: {error}") from None


def _profile(held: Mapping[str, object]) -> Profile:
    return Profile(_text(held.get("url")), _text(held.get("token")), _text(held.get("participant")))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no text")
