"""Whether this process can do its work: the checks behind `/health`, `/health/live` and `/health/ready`.

Postgres decides: without it nothing can be stored. Valkey only wakes things up, so without it the process is
`degraded` but ready. No check blocks the event loop, and however often they are asked for, one round of them
runs at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import redis.asyncio
import redis.exceptions
from django.conf import settings
from django.db.migrations.loader import MigrationLoader

POSTGRES_SECONDS: Final = 2.0
VALKEY_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What one round of checks found: `ok`, or in one word what is wrong."""

    postgres: str
    migrations: str
    valkey: str
    checked_at: float
    """`time.monotonic()` of the round."""

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self.postgres == "ok" and self.migrations == "ok"

    @property
    def status(self) -> str:
        """`ok`, `degraded` (served, but without wake-ups) or `unavailable`."""
        if not self.ready:
            return "unavailable"
        return "ok" if self.valkey == "ok" else "degraded"

    @property
    def dependencies(self) -> dict[str, str]:
        """What was found, by dependency."""
        return {"postgres": self.postgres, "migrations": self.migrations, "valkey": self.valkey}


class _State:
    """What this process remembers between checks."""

    draining = False
    migrated = False
    latest: Health | None = None
    round: "asyncio.Task[Health] | None" = None


def begin_drain() -> None:
    """Say that this process stops: from now on it is not ready, so that nothing new is sent to it."""
    _State.draining = True


def end_drain() -> None:
    """Take `begin_drain` back."""
    _State.draining = False


def is_draining() -> bool:
    """Whether `begin_drain` was called."""
    return _State.draining


async def check() -> Health:
    """The health of this process, at most a second old. Returns within 3 s whatever is out of reach."""
    latest = _State.latest
    if latest is not None and time.monotonic() - latest.checked_at < FRESH_SECONDS:
        return latest
    running = _State.round
    if running is None or running.done() or running.get_loop() is not asyncio.get_running_loop():
        _State.round = running = asyncio.create_task(_check_all(), name="health checks")
    return await asyncio.shield(running)


async def _check_all() -> Health:
    (postgres, migrations), valkey = await asyncio.gather(_check_postgres(), _check_valkey())
    _State.latest = Health(
        postgres=postgres, migrations=migrations, valkey=valkey, checked_at=time.monotonic()
    )
    return _State.latest


async def _check_postgres() -> tuple[str, str]:
    """Reach Postgres over a new connection, and see that every migration of this code is applied there.

    A connection of its own: a pool that is busy is load, not an outage.
    """
    expected = None if _State.migrated else await asyncio.to_thread(_migrations_of_this_code)
    try:
        async with asyncio.timeout(POSTGRES_SECONDS):
            return "ok", await _check_migrations(expected)
    except (psycopg.Error, OSError, TimeoutError) as error:
        logger.warning("Postgres cannot be reached: %s", _reason(error))
        return "unreachable", "ok" if _State.migrated else "unknown"


async def _check_migrations(expected: set[tuple[str, str]] | None) -> str:
    async with await psycopg.AsyncConnection.connect(**_connection_parameters()) as connection:
        if expected is None:
            await connection.execute("SELECT 1")
            return "ok"
        table = await (await connection.execute("SELECT to_regclass('django_migrations')")).fetchone()
        if table is None or table[0] is None:
            return "missing"
        rows = await (await connection.execute("SELECT app, name FROM django_migrations")).fetchall()
    _State.migrated = expected <= set(rows)
    return "ok" if _State.migrated else "missing"


def _migrations_of_this_code() -> set[tuple[str, str]]:
    return set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)


def _connection_parameters() -> dict[str, Any]:
    database = settings.DATABASES["default"]
    parameters = {
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "host": database["HOST"],
        "port": database["PORT"],
        **{name: value for name, value in database.get("OPTIONS", {}).items() if name != "pool"},
        "autocommit": True,
    }
    return {name: value for name, value in parameters.items() if value != ""}


async def _check_valkey() -> str:
    found = await asyncio.gather(*(_ping(url) for url in settings.FLEETLM.redis_urls))
    return next((word for word in found if word != "ok"), "ok")


async def _ping(url: str) -> str:
    client = redis.asyncio.Redis.from_url(
        url, socket_connect_timeout=VALKEY_SECONDS, socket_timeout=VALKEY_SECONDS
    )
    try:
        async with asyncio.timeout(VALKEY_SECONDS), client:
            answer = client.ping()
            if isinstance(answer, Awaitable):
                await answer
        return "ok"
    except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
        logger.warning("Valkey cannot be reached: %s", _reason(error))
        return "unreachable"


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
