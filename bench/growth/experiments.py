"""What each index of messages costs an append, and what hash partitions of them would change: in the full database.

The rows are written by the server's own INSERT, 32 at a time into 32 conversations. An index is left out by dropping it in a
transaction that is rolled back, so each variant begins with the same table; variants take turns. The first rows after a
checkpoint log whole pages, the later ones in the same pages do not: both are measured.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from time import perf_counter
from uuid import uuid4

import psycopg
from psycopg import sql
from uuid_utils.compat import uuid7

from bench.growth.databases import Database
from bench.growth.load import MESSAGE_CONSTRAINTS
from bench.growth.sample import Sample
from conversations import store
from conversations.connection import Call, as_text

ROWS = 32
ROUNDS = 3
PARTITIONS = 16

_WITHOUT = {
    "all three indexes": (),
    "without the primary key (id)": ("conversations_message_pkey",),
    "without (conversation, seq)": ("message_seq_once",),
    "without (conversation, sender, client_id)": ("message_client_id_once",),
    "with none": ("conversations_message_pkey", "message_seq_once", "message_client_id_once"),
}

Connection = psycopg.Connection[tuple[object, ...]]
Figures = tuple[float, float, float, float]
"""Microseconds and bytes of log for a row: just after a checkpoint, and later."""

HEAD = "| 32 rows at a time | µs a row, after a checkpoint | later | bytes of log a row, after a checkpoint | later |"


def run(database: Database, sample: Sample) -> str:
    """Both experiments, as Markdown."""
    return f"{indexes(database, sample)}\n\n{partitions(database, sample)}"


def indexes(database: Database, sample: Sample) -> str:
    """Microseconds and bytes of log for a row, with and without each index."""
    figures: defaultdict[str, list[Figures]] = defaultdict(list)
    with psycopg.connect(database.url, autocommit=True) as connection:
        drops = {
            name: str(drop)
            for drop, _ in connection.execute(MESSAGE_CONSTRAINTS).fetchall()
            for name in ("conversations_message_pkey", "message_seq_once", "message_client_id_once")
            if name in str(drop)
        }
        for number in range(ROUNDS):
            for name, left_out in _WITHOUT.items():
                connection.execute("CHECKPOINT")
                with connection.transaction(force_rollback=True):
                    for one in left_out:
                        connection.execute(sql.SQL(drops[one]))  # type: ignore[arg-type]
                    figures[name].append(_both(connection, _statement(), sample, number))
                connection.execute("VACUUM conversations_message")  # what was rolled back is in the indexes
    return "\n".join([HEAD, "| --- | ---: | ---: | ---: | ---: |", *(_line(*one) for one in figures.items())])


PARTITIONED = f"""
CREATE TABLE partitioned (LIKE conversations_message INCLUDING CONSTRAINTS) PARTITION BY HASH (conversation_id);
SELECT format('CREATE TABLE partitioned_%s PARTITION OF partitioned FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER %s)', n, n)
FROM generate_series(0, {PARTITIONS} - 1) n
"""  # noqa: S608  # our own numbers

# The primary key must hold the key of the partitions; an id alone could no longer be unique by an index.
PARTITION_INDEXES = (
    "ALTER TABLE partitioned ADD PRIMARY KEY (id, conversation_id)",
    "ALTER TABLE partitioned ADD UNIQUE (conversation_id, seq)",
    "CREATE UNIQUE INDEX ON partitioned (conversation_id, sender_id, client_id) WHERE client_id IS NOT NULL",
)


def partitions(database: Database, sample: Sample) -> str:
    """The same inserts and pages on a copy of the table in hash partitions."""
    rows: defaultdict[str, list[Figures]] = defaultdict(list)
    pages: defaultdict[str, list[float]] = defaultdict(list)
    with psycopg.connect(database.url, autocommit=True) as connection:
        copy_into_partitions(connection)
        for number in range(ROUNDS):
            for name in ("conversations_message", "partitioned"):
                connection.execute("CHECKPOINT")
                with connection.transaction(force_rollback=True):
                    rows[name].append(_both(connection, _statement(name), sample, number))
                connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(name)))
                pages[name].append(_pages(connection, name, sample))
        connection.execute("DROP TABLE partitioned")
    lines = [
        HEAD[:-1] + "| newest 50 of any conversation, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, title in (
        ("conversations_message", "one table"),
        ("partitioned", f"{PARTITIONS} hash partitions"),
    ):
        lines.append(f"{_line(title, rows[name])} {median(pages[name]):.2f} |")
    return "\n".join(lines)


def copy_into_partitions(connection: Connection) -> None:
    """Make the table `partitioned`, with the rows and the indexes of messages."""
    connection.execute("SET maintenance_work_mem = '1GB'")
    create, each = PARTITIONED.split(";\n")
    with connection.transaction():
        connection.execute(sql.SQL(create))  # type: ignore[arg-type]
        for (statement,) in connection.execute(sql.SQL(each)).fetchall():  # type: ignore[arg-type]
            connection.execute(str(statement))
        connection.execute("INSERT INTO partitioned SELECT * FROM conversations_message")
        for statement in PARTITION_INDEXES:
            connection.execute(statement)
    connection.execute("VACUUM (ANALYZE) partitioned")


def _line(name: str, values: Sequence[Figures]) -> str:
    first, later, first_bytes, later_bytes = (median(column) for column in zip(*values, strict=True))
    return f"| {name} | {first:.1f} | {later:.1f} | {first_bytes:,.0f} | {later_bytes:,.0f} |"


def _both(connection: Connection, statement: str, sample: Sample, number: int) -> Figures:
    first, first_bytes = _insert(connection, statement, sample, 2 * number)
    later, later_bytes = _insert(connection, statement, sample, 2 * number + 1)
    return first, later, first_bytes, later_bytes


def _statement(table: str = "conversations_message") -> str:
    return store.INSERT_MESSAGES.sql.decode().replace("conversations_message", table)


def _insert(connection: Connection, statement: str, sample: Sample, number: int) -> tuple[float, float]:
    """Microseconds and bytes of log for each row."""
    shuffled = sample.random.sample(sample.conversations, len(sample.conversations))
    turns = [shuffled[n * ROWS : (n + 1) * ROWS] for n in range(len(shuffled) // ROWS)]
    calls = [_call(chosen, number) for chosen in turns]
    connection.pgconn.prepare(b"insert", statement.encode())
    before, began = _position(connection), perf_counter()
    for call in calls:
        result = connection.pgconn.exec_prepared(b"insert", list(call.parameters))
        assert result.command_tuples == ROWS, result.error_message
    took = perf_counter() - began
    written = _position(connection) - before
    connection.execute("DEALLOCATE insert")
    return took / (len(calls) * ROWS) * 1e6, written / (len(calls) * ROWS)


def _call(chosen: Sequence[tuple[int, str, str]], number: int) -> Call:
    """A row for each of these conversations, with a seq that none has yet."""
    text, seq = "Hello! Could you please tell me where my parcel is right now?", 1_000_000_000 + number
    columns: Sequence[Sequence[object]] = (
        [uuid7() for _ in chosen],
        [one for one, _, _ in chosen],
        *([[seq] * ROWS] * 2),
        [member for _, _, member in chosen],
        ["text"] * ROWS,
        [text] * ROWS,
        *([["{}"] * ROWS] * 2),
        [None] * ROWS,
        ["[]"] * ROWS,
        [str(uuid4()) for _ in chosen],
        ["2026-01-01T00:00:00Z"] * ROWS,
    )
    return Call(store.INSERT_MESSAGES, [as_text(list(column)) for column in columns])


def _position(connection: Connection) -> float:
    row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8").fetchone()
    assert row
    return float(str(row[0]))


def _pages(connection: Connection, table: str, sample: Sample) -> float:
    """Milliseconds of one page, the median of many."""
    page = sql.SQL("SELECT * FROM {} WHERE conversation_id = %s AND seq < %s ORDER BY seq DESC LIMIT 50")
    statement, took = page.format(sql.Identifier(table)), []
    for one, _, _ in sample.random.sample(sample.conversations, 400):
        began = perf_counter()
        connection.execute(statement, (one, 1 << 40), prepare=True).fetchall()
        took.append(perf_counter() - began)
    return median(took) * 1_000
