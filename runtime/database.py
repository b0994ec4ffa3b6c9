"""The Postgres connections of a process's async work: one small pool, prepared statements, short timeouts."""

import select
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, TypeVar

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from psycopg import adapters
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from conversations.connection import Connection, array

Pool = AsyncConnectionPool[Connection]

P = ParamSpec("P")
T = TypeVar("T")

LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 15_000
IDLE_TRANSACTION_TIMEOUT_MS = 4_000
"""Who is held still in the middle of a transaction loses it, before those who wait for its locks give up."""

OPTIONS: Final = {
    "lock_timeout": LOCK_TIMEOUT_MS,
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_TRANSACTION_TIMEOUT_MS,
    "TimeZone": "UTC",
    # Every statement that runs here finds few rows by an index. Planning it anew each time costs Postgres more than running it;
    # planned once, on a young table, it must not become a scan of what will be a large one.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": 0,
    "jit": "off",
}
"""What each connection of the pool is told, as Postgres calls it."""

set_json_loads(orjson.loads)


class ArrayDumper(Dumper):
    """Lists as array literals, at a third of what psycopg's own dumper takes: it looks for the type of what they hold.

    Statements say that themselves (`%s::text[]`, `key = ANY(%s)`).
    """

    def dump(self, obj: Sequence[Any]) -> bytes:
        """The literal; see `conversations.connection.array`."""
        return array(obj).encode()


_adapters = AdaptersMap(adapters)
_adapters.register_dumper(list, ArrayDumper)


def make_pool(size: int | None = None) -> Pool:
    """A pool of autocommit connections, not yet open. A caller waits at most 5 s for one (`PoolTimeout`)."""
    return AsyncConnectionPool(
        settings.FLEETLM.database_url,
        connection_class=Connection,
        kwargs={
            "autocommit": True,
            "context": _adapters,
            "prepare_threshold": 2,
            "connect_timeout": 5,
            "options": " ".join(f"-c {name}={value}" for name, value in OPTIONS.items()),
        },
        min_size=2,
        max_size=size or settings.FLEETLM.database_pool,
        timeout=5,
        check=_check_if_spoken_to,
        # By default the pauses between tries to connect grow with the outage, to minutes. Given up and begun anew by the
        # next caller, a try is never more than 2 s away once Postgres is back.
        reconnect_timeout=5,
        max_idle=300,
        open=False,
    )


async def _check_if_spoken_to(connection: Connection) -> None:
    """Try out a connection, before it is handed out, that has something to read though nothing was asked.

    Most likely Postgres has said goodbye on it. Without this every idle connection of a Postgres that was started again
    costs a caller its request; trying each one every time would cost every caller a round trip.
    """
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    if readable.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run synchronous ORM work of a cold route in a thread, and give its connection back to Django's pool after it."""

    def work() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return await sync_to_async(work, thread_sensitive=False)()
