"""Who Postgres runs as: never root, which it refuses."""

import os
import pwd
import stat
from pathlib import Path

from runtime.embedded.engine import EngineError
from runtime.program import Account


def engine_account(data: Path) -> Account | None:
    """None when this process is an ordinary user.

    As root: the owner of the existing data, or else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def open_way_to(path: Path) -> None:
    """Let every user walk through the directories above `path` (not list them).

    Raises `EngineError` if it can't.
    """
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            _set_mode(directory, mode | stat.S_IXOTH)


def open_tree(root: Path) -> None:
    """Let every user read what lies under `root`, whatever the umask was when it was installed."""
    for path in [root, *root.rglob("*")]:
        mode = path.stat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            _set_mode(path, wanted)


def own(path: Path, account: Account | None) -> None:
    """Make a directory, if there is none, that only the engine's account (and root) may enter."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(path, account.uid, account.gid)
    except OSError as error:
        raise EngineError(f"Cannot prepare {path}: {error.strerror}") from None


def _set_mode(path: Path, mode: int) -> None:
    try:
        path.chmod(stat.S_IMODE(mode))
    except OSError as error:
        raise EngineError(
            f"Postgres does not run as root, and its own user cannot reach {path}: {error.strerror}. "
            "Run this as an ordinary user, or set DATABASE_URL."
        ) from None
