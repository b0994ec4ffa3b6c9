"""The embedded engines: they start, keep what they must, stay private, and come back after anything."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from runtime.embedded import postgres, valkey
from runtime.embedded.engine import EngineError, running
from runtime.embedded.files import DataInUseError, kept_secret, locked, write_env

HOLD = """
import sys, time
from pathlib import Path
from runtime.embedded import postgres
from runtime.embedded.engine import running
with running(postgres.prepare(Path(sys.argv[1]), fsync=False)):
    print("up", flush=True)
    time.sleep(60)
"""


def test_postgres_keeps_its_data_in_a_path_with_spaces_and_quotes(tmp_path: Path) -> None:
    data = tmp_path / 'it\'s a "path"' / "postgres"
    data.parent.mkdir()
    with running(postgres.prepare(data)) as url:
        postgres.create_database(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with running(postgres.prepare(data)) as url:
        postgres.create_database(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_durability_is_the_default(tmp_path: Path) -> None:
    names = ("fsync", "synchronous_commit", "max_connections", "listen_addresses")
    engine = postgres.prepare(tmp_path / "postgres", database="postgres")
    with running(engine) as url, psycopg.connect(url) as connection:
        settings = [connection.execute(f"SHOW {name}").fetchone() for name in names]
    assert settings == [("on",), ("on",), ("200",), ("",)]


def test_a_path_longer_than_a_socket_may_have(tmp_path: Path) -> None:
    data = tmp_path / ("d" * 100) / ("e" * 100) / "postgres"
    data.parent.mkdir(parents=True)
    engine = postgres.prepare(data, database="postgres", fsync=False)
    with running(engine) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        sockets = Path(connection.info.host)
    assert not sockets.is_relative_to(tmp_path)
    sockets.rmdir()


def test_only_its_owner_reaches_the_socket(tmp_path: Path) -> None:
    postgres.prepare(tmp_path / "postgres", fsync=False)
    assert stat.S_IMODE((tmp_path / "postgres.sockets").stat().st_mode) == 0o700


def test_it_starts_after_everything_was_killed_and_the_pid_was_reused(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    with subprocess.Popen([sys.executable, "-c", HOLD, data], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"up\n"
        pid_file = data / "postmaster.pid"
        lines = pid_file.read_text().split("\n")
        os.kill(int(lines[0]), signal.SIGKILL)
        holder.kill()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with running(postgres.prepare(data, database="postgres", fsync=False)) as url:
        psycopg.connect(url).close()


def test_an_orphan_on_the_same_data_is_stopped_first(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    first = postgres.prepare(data, database="postgres", fsync=False)
    with running(first) as url:
        before = _postmaster_start(url)
        with running(postgres.prepare(data, database="postgres", fsync=False)) as second:
            assert _postmaster_start(second) != before


def test_data_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EngineError, match="data of Postgres 16; this is Postgres 18"):
        postgres.prepare(tmp_path / "postgres")


def test_valkey_wants_its_password_and_evicts_when_full(tmp_path: Path) -> None:
    with running(valkey.prepare(tmp_path / "valkey")) as url, redis.Redis.from_url(url) as client:
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lru"
        stranger_url = "redis://" + url.split("@")[1]
        with redis.Redis.from_url(stranger_url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_one_process_holds_the_data(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataInUseError, match=str(os.getpid())), locked(tmp_path):
        pass


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert kept_secret(path) == kept_secret(path)
    assert len(kept_secret(path)) >= 50
    write_env(tmp_path / "env", {"PORT": "4000"})
    assert (tmp_path / "env").read_text() == "PORT=4000\n"
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, tmp_path / "env")} == {0o600}


def _postmaster_start(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT pg_postmaster_start_time()").fetchone()
