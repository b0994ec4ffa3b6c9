"""The files of the data directory that are not an engine's: its lock, its generated secrets, its `env`."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path


class DataInUseError(Exception):
    """Another `manage.py up` runs on this data directory."""


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Make the data directory if needed and hold it alone.

    Raises `DataInUseError`; `OSError` when it can't be made.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(data / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DataInUseError(
                f"FleetLM runs on {data} already (process {lock.read().strip() or 'unknown'})"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def kept_secret(path: Path, *, size: int = 48) -> str:
    """The secret in this file; made up from `size` random bytes and written there on first use."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(size) + "\n")
    return path.read_text().strip()


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Write `KEY=value` lines: what the settings fall back on where the environment says nothing."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def write_private(path: Path, text: str) -> Path:
    """Write a file, all at once, that only its owner may read; its path."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return unfinished.replace(path)
