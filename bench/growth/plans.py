"""Checks how Postgres runs the server's statements: no plan may read more than was asked for, however full the tables are.

A recording connection notes what the server's own functions send. Each statement is then prepared anew and run under EXPLAIN
twice, once with the plan that Postgres makes for any values and once with the plan for these: a connection that has been
open for a while has the first, a fresh one the second. Everything is rolled back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString, cast

import orjson
import psycopg
from psycopg import AsyncCursor, sql
from psycopg.pq import TransactionStatus

from bench.growth.journeys import JOURNEYS, Journey
from bench.growth.sample import Sample
from conversations.connection import Call, Connection, Result, Statement, as_text
from runtime.database import make_pool

GROWING: Final = frozenset(
    {
        *("conversations_conversation", "conversations_membership", "conversations_message"),
        *("conversations_participant", "inbox_readcursor", "inbox_mention"),
        *("agents_deliverystream", "agents_attempt"),
    }
)
"""Tables that nobody may read from one end to the other."""

_PLACE: Final = re.compile(r"%(?:\((\w+)\))?s|%%")
_NOTHING: Final = Statement("SELECT")
_TYPES: Final[dict[type, str]] = {int: "bigint", float: "double precision", bool: "boolean"}
_BOUNDARIES: Final = (b"BEGIN", b"COMMIT", b"ROLLBACK")

Plan = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A statement with its values as text, and the types that were sent with them."""

    statement: str
    values: tuple[bytes | None, ...]
    types: tuple[str, ...]


class RecordingCursor(AsyncCursor[tuple[Any, ...]]):
    """psycopg's cursor; its connection is told of every statement."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "RecordingCursor":
        """Note the statement, then execute it."""
        cast(RecordingConnection, self.connection).recorded.append(_numbered(query, params))
        return await super().execute(query, params, **options)


class RecordingConnection(Connection):
    """The server's connection, which notes what it is asked and leaves out what would end the transaction around it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recorded: list[Recorded] = []
        self.cursor_factory = RecordingCursor

    async def run(self, *calls: Call) -> list[Result]:
        """Note these calls, then run them."""
        if self.pgconn.transaction_status == TransactionStatus.INERROR:
            return []  # the way back is `record`'s; nothing else would be understood any more
        inner = [_NOTHING() if one.statement.sql in _BOUNDARIES else one for one in calls]
        self.recorded += [
            Recorded(one.statement.sql.decode(), tuple(one.parameters), ("unknown",) * len(one.parameters))
            for one in inner
            if one.statement is not _NOTHING
        ]
        return await super().run(*inner)

    async def record(self, journey: Journey, sample: Sample) -> list[Recorded]:
        """What the journey sends; all that it does is undone."""
        self.recorded = []
        await super().run(Statement("BEGIN")())
        try:
            await journey.run(self, sample)
        finally:
            await super().run(Statement("ROLLBACK")())
        return list(dict.fromkeys(self.recorded))


def _numbered(query: str, params: Any) -> Recorded:
    """A statement with psycopg's placeholders as one with numbers, and its values as text."""
    if params is None:
        return Recorded(query, (), ())
    values: list[Any] = [] if hasattr(params, "keys") else list(params)
    names: list[str] = []

    def number(place: re.Match[str]) -> str:
        if place[0] == "%%":
            return "%"
        name = place[1] or str(len(names))
        if name not in names:
            names.append(name)
            if place[1]:
                values.append(params[name])
        return f"${names.index(name) + 1}"

    text = _PLACE.sub(number, query)
    types = tuple(_TYPES.get(type(one), "unknown") for one in values)
    return Recorded(text, tuple(as_text(one) for one in values), types)


@dataclass(frozen=True, slots=True)
class Explained:
    """One statement's plan, as it ran."""

    journey: str
    statement: str
    plan: Plan
    milliseconds: float
    buffers: int
    """Pages of 8 KiB that were looked at."""

    def faults(self, rows: int) -> Iterator[str]:
        """What is wrong with it: a table that grows read from end to end, or a node that meets more rows than `rows`."""
        for node in nodes(self.plan):
            relation = node.get("Relation Name", "")
            where = f"{node['Node Type']} {relation}".strip()
            if node["Node Type"] == "Seq Scan" and relation in GROWING:
                yield self._fault(f"{where}: it grows")
            elif node["Node Type"].startswith("Gather"):
                yield self._fault("it starts more processes")
            elif (met := _rows_met(node)) > rows:
                yield self._fault(f"{where} meets {met:,.0f} rows, {rows:,} were to be expected")

    def _fault(self, what: str) -> str:
        return f"{self.journey}: {what}, in: {' '.join(self.statement.split())[:160]}"


def nodes(plan: Plan) -> Iterator[Plan]:
    """Every node of a plan."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def _rows_met(node: Plan) -> float:
    """Rows that a node brought or threw away, or searches in an index that it began, over all its loops."""
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return max((node["Actual Rows"] + removed) * node["Actual Loops"], node.get("Index Searches", 0))


async def explain_all(
    url: str, sample: Sample, journeys: Sequence[Journey] = JOURNEYS
) -> list[tuple[Journey, Explained]]:
    """The plans of every statement of these journeys, as the server's connections get them."""
    explained = []
    options = cast(dict[str, Any], make_pool().kwargs)["options"]  # plans depend on the server's settings
    async with await RecordingConnection.connect(url, autocommit=True, options=options) as recorder:
        with psycopg.connect(url, autocommit=True, options=options) as connection:
            for journey in journeys:
                for recorded in await recorder.record(journey, sample):
                    one = _explain(connection, journey.name, recorded)
                    explained.append((journey, one))
    return explained


def _explain(connection: psycopg.Connection[Any], journey: str, recorded: Recorded) -> Explained:
    prepare, execute = sql.SQL("PREPARE looked_at"), sql.SQL("EXECUTE looked_at")
    if recorded.values:
        prepare += sql.SQL(f"({', '.join(recorded.types)})")
        # Without types of their own, like the server's: Postgres knows from the statement what each is.
        literals = [sql.Literal(None if one is None else one.decode()) for one in recorded.values]
        execute += sql.SQL(" ({})").format(sql.SQL(", ").join(literals))
    prepare += sql.SQL(" AS ") + sql.SQL(cast(LiteralString, recorded.statement))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(prepare)
            row = connection.execute(sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ") + execute).fetchone()
    finally:
        connection.execute("DEALLOCATE ALL")
    assert row
    found = row[0][0] if isinstance(row[0], list) else orjson.loads(row[0])[0]
    plan = found["Plan"]
    buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return Explained(journey, recorded.statement, plan, found["Execution Time"], buffers)


async def faults(url: str, sample: Sample, journeys: Sequence[Journey] = JOURNEYS) -> list[str]:
    """Everything that is wrong with the plans; nothing, if all is well."""
    explained = await explain_all(url, sample, journeys)
    return [fault for journey, one in explained for fault in one.faults(journey.rows)]
