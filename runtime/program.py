"""What to run as a child process, and how to start it so that it never outlives its parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

LOG_BYTES: Final = 8 * 1024 * 1024
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a program runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One program to run: its name in messages, its command, and what surrounds it."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] | None = None
    """Its whole environment; None: this process's own."""
    account: Account | None = None
    """Whom it runs as; None: this process's own user."""
    log: Path | None = None
    """The file that its output is appended to; None: whoever starts it shows it."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks it to stop cleanly, and what the kernel sends it when its parent dies."""


def spawn_options(program: Program) -> dict[str, Any]:
    """Keyword arguments of `subprocess.Popen` (and asyncio's equal) for this program.

    It gets a process group of its own: Ctrl-C at the terminal reaches the parent only, which then stops its
    children in order. On Linux the kernel signals it when the parent's thread that started it ends, however
    it ends.
    """
    options: dict[str, Any] = {
        "cwd": program.directory,
        "env": program.environment,
        "stdin": subprocess.DEVNULL,
        "process_group": 0,
        "preexec_fn": _die_with(os.getpid(), program.stop_signal),
    }
    if program.account is not None:
        options |= {"user": program.account.uid, "group": program.account.gid, "extra_groups": []}
    return options


def _die_with(parent: int, signum: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    prctl = _libc.prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child


def open_log(path: Path) -> IO[bytes]:
    """The log file, for appending; readable by its owner only.

    One of more than 8 MiB is put aside as `.1` first.
    """
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def signal_group(pid: int, signum: signal.Signals) -> None:
    """Signal a program and what it started in its process group. Nothing happens if all of it is gone."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):  # macOS says PermissionError of a group of zombies
        return
