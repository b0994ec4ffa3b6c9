"""How the command ends: its exit codes, and errors in one line for people or one JSON object for programs."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import IO, Any

from fleetlm_client.cli.plain_text import on_one_line
from fleetlm_client.errors import PASSING


class Exit(IntEnum):
    """The exit codes, for programs to tell what to do next."""

    DONE = 0
    REFUSED = 1
    """The server said no; its error says why. The same again brings the same."""
    USAGE = 2
    """The command was not understood, or a profile, a file or a package is missing."""
    UNREACHABLE = 3
    """No server was reached, or it cannot serve now: again later."""
    NO_ANSWER = 4
    """What was sent is stored, but no agent answered in time."""
    INTERRUPTED = 130


class Failed(Exception):
    """The command cannot do what it was asked: `code` is the server's own, or one of this command."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        exit_code: Exit = Exit.REFUSED,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
        self.details = details or {}


def exit_code_of(code: str, status: int | None) -> Exit:
    """The exit code for an error of the server."""
    return Exit.UNREACHABLE if code in PASSING or (status or 0) >= 500 else Exit.REFUSED


def tell(stream: IO[str], code: str, message: str, details: dict[str, Any] | None = None) -> None:
    """Write an error, in the shape of the server's own unless a person sits there."""
    if stream.isatty():
        line = f"{on_one_line(message)} ({code})"
    else:
        error = {"code": code, "message": message, "details": details or {}}
        line = json.dumps({"error": error}, ensure_ascii=False)
    stream.write(line + "\n")
    stream.flush()
