"""The same work in both databases, turn by turn: appends over REST, and the server's own reads and writes one at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, sleep
from typing import Any

import psycopg
from django.conf import settings
from django.test import override_settings

from bench import checks, stack
from bench.growth.databases import Database
from bench.growth.journeys import JOURNEYS
from bench.growth.sample import Sample
from conversations.connection import Statement
from runtime.database import Pool, make_pool

CONNECTIONS = 32
TEXT = "Hello! Could you please tell me where my parcel is right now? It has been four days."
TIMES = 40
"""How often each thing is done in one turn."""

UPDATES = """
SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
WHERE relname IN ('conversations_conversation', 'inbox_readcursor', 'agents_deliverystream')
"""
STATISTICS_SECONDS = 1.5
"""After so long an idle backend has told its counts."""

READ_ALL = "SELECT count(*) FROM conversations_message WHERE text = ''"
"""Brings the messages into the system's memory: what is measured is Postgres, not the disk."""

_BEGIN, _ROLLBACK = Statement("BEGIN"), Statement("ROLLBACK")


@dataclass
class Appends:
    """Rounds of appends in one database."""

    per_second: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    wal_bytes: list[float] = field(default_factory=list)
    """Of one append; whole pages after a checkpoint are the most of it."""
    hot: dict[str, float] = field(default_factory=dict)
    """By table, the share of updates that stayed in their page."""
    faults: list[str] = field(default_factory=list)


def appends(
    databases: Sequence[tuple[Database, Sample, stack.Child]], *, rounds: int, seconds: float
) -> dict[str, Appends]:
    """Appends over REST to 10,000 conversations, in alternating rounds; by the database's name."""
    results = {database.name: Appends() for database, _, _ in databases}
    before = {database.name: _updates(database.url) for database, _, _ in databases}
    for number in range(rounds):
        for database, sample, web in databases if number % 2 else databases[::-1]:
            _append_round(database, sample, web, results[database.name], number, seconds)
    sleep(STATISTICS_SECONDS)
    for database, _, _ in databases:
        after, earlier = _updates(database.url), before[database.name]
        for table, (updates, hot) in after.items():
            made = updates - earlier[table][0]
            results[database.name].hot[table] = (hot - earlier[table][1]) / made if made else 1.0
    return results


def _append_round(
    database: Database, sample: Sample, web: stack.Child, into: Appends, number: int, seconds: float
) -> None:
    wal = _wal(database.url)
    result = stack.drive(
        "rest",
        {
            "connections": CONNECTIONS,
            "conversations": [(key, member) for _, key, member in sample.conversations],
            "seconds": seconds,
            "warm_up": 1.0,
            "text": TEXT,
            "run": f"growth-{perf_counter()}-{number}",
            "key": database.key,
            "host": f"127.0.0.1:{web.port}",
            "port": web.port,
        },
    )
    acknowledged = result["acknowledged"]
    into.per_second.append(result["per_second"])
    into.p99_ms.append(result["p99_ms"])
    into.wal_bytes.append((_wal(database.url) - wal) / max(len(acknowledged), 1))
    into.faults += result["faults"]
    with psycopg.connect(database.url) as connection:
        columns = [list(column) for column in zip(*acknowledged, strict=True)] or [[], [], []]
        row = connection.execute(checks.ACKNOWLEDGED_STORED, columns).fetchone()
        if row != (len(acknowledged),):
            into.faults.append(f"{len(acknowledged)} appends were acknowledged, {row} are stored")


def _wal(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        ).fetchone()
        assert row
        return int(row[0])


def _updates(url: str) -> dict[str, tuple[int, int]]:
    with psycopg.connect(url) as connection:
        return {table: (updates, hot) for table, updates, hot in connection.execute(UPDATES).fetchall()}


Milliseconds = dict[str, list[float]]


async def journeys(
    databases: Sequence[tuple[Database, Sample]], *, rounds: int
) -> Mapping[str, Milliseconds]:
    """Milliseconds of each journey, the median of every turn; by the database's name. What they write is undone."""
    found: dict[str, Milliseconds] = {database.name: defaultdict(list) for database, _ in databases}
    pools = {database.name: _pool(database.url) for database, _ in databases}
    for database, _ in databases:
        with psycopg.connect(database.url) as connection:
            connection.execute(READ_ALL)
    for pool in pools.values():
        await pool.open(wait=True)
    try:
        for number in range(rounds):
            for journey in JOURNEYS[1:]:  # the append has its own way: it commits
                for database, sample in databases if number % 2 else databases[::-1]:
                    turn = await _turn(pools[database.name], journey.run, sample)
                    found[database.name][journey.name].append(turn)
    finally:
        for pool in pools.values():
            await pool.close()
    return found


async def _turn(pool: Pool, run: Any, sample: Sample) -> float:
    took = []
    async with pool.connection() as connection:
        for _ in range(TIMES):
            await connection.run(_BEGIN())
            began = perf_counter()
            await run(connection, sample)
            took.append(perf_counter() - began)
            await connection.run(_ROLLBACK())
            await asyncio.sleep(0)
    return median(took) * 1_000


def _pool(url: str) -> Pool:
    """The server's own pool, to this database."""
    with override_settings(FLEETLM=settings.FLEETLM.model_copy(update={"database_url": url})):
        return make_pool(2)
