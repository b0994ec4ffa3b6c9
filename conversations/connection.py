"""A Postgres connection that sends prepared statements together and takes their answers together.

psycopg's cursors convert, plan and wait for each statement by itself, which takes several times what Postgres takes for the
statements of an append. Here they go to libpq's pipeline mode directly, by psycopg's public wrapper `psycopg.pq`.
Source: https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

_NO_ERROR: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.PIPELINE_ABORTED)


MISPLACED: Final = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)
"""A statement was not prepared where it was thought to be, or was though it was not: in a transaction, begin it anew."""


class Statement:
    """SQL with parameters `$1`, `$2` …, prepared once on each connection. Arrays say what they hold: `$1::text[]`."""

    __slots__ = ("name", "sql")

    def __init__(self, sql: str) -> None:
        self.sql = sql.encode()
        self.name = b"fleetlm_" + sha256(self.sql).hexdigest()[:16].encode()

    def __call__(self, *parameters: Any) -> "Call":
        """This statement with these values; see `as_text` for what they may be."""
        return Call(self, [as_text(one) for one in parameters])


class Call(msgspec.Struct, frozen=True):
    """One execution of a statement."""

    statement: Statement
    parameters: Sequence[bytes | None]


class Result(msgspec.Struct, frozen=True):
    """The rows of one call, and how many rows it returned or changed."""

    rows: list[tuple[Any, ...]]
    count: int


class Runner(Protocol):
    """A connection, or a transaction on one."""

    async def run(self, *calls: Call) -> list[Result]:
        """Run these in order, in one round trip; see `Connection.run`."""


class Connection(AsyncConnection[tuple[Any, ...]]):
    """psycopg's connection, with `run` beside its cursors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: set[bytes] = set()
        self._transformer = Transformer(self)

    async def run(self, *calls: Call) -> list[Result]:
        """Run these calls in order and return their results: one round trip, one transaction unless one is open.

        Raises the `psycopg.Error` of the first that fails; those after it have not run. After a call that was interrupted
        (cancelled, or cut off) the connection is closed: what it would say next belongs to the interrupted one.
        """
        for left in reversed(range(len(calls) + 2)):
            try:
                return await self._run(calls)
            except MISPLACED:  # and what is known has been put right: this time it may go well
                if not left or self.pgconn.transaction_status != TransactionStatus.IDLE:
                    raise
        raise AssertionError("unreachable")

    async def _run(self, calls: Sequence[Call]) -> list[Result]:
        missing = {
            one.statement.name: one.statement for one in calls if one.statement.name not in self._known
        }
        try:
            self._send(missing.values(), calls)
            answers = await self._receive()
        except BaseException:
            self.pgconn.finish()
            raise
        self.pgconn.exit_pipeline_mode()
        self._note_prepared(list(missing), calls, answers)
        self._check(answers)
        return [self._result(answer) for answer in answers[len(missing) :]]

    def _note_prepared(
        self, asked: Sequence[bytes], calls: Sequence[Call], answers: Sequence[PGresult]
    ) -> None:
        """What Postgres holds now. psycopg deallocates all statements after a rollback of its own, and does not tell."""
        prepared = set()
        for name, answer in zip(asked, answers, strict=False):
            if answer.status == ExecStatus.COMMAND_OK or _sqlstate(answer) == b"42P05":
                prepared.add(name)
        self._known |= prepared
        if any(_sqlstate(answer) == b"26000" for answer in answers):
            self._known -= {call.statement.name for call in calls} - prepared

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator["Transaction"]:
        """A transaction, whose beginning and end travel with its calls: end it with `commit`, or it is rolled back."""
        transaction = Transaction(self)
        try:
            yield transaction
        finally:
            if self.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await self.run(ROLLBACK())

    def _send(self, unprepared: Iterable[Statement], calls: Sequence[Call]) -> None:
        self.pgconn.enter_pipeline_mode()
        for statement in unprepared:
            self.pgconn.send_prepare(statement.name, statement.sql)
        for call in calls:
            self.pgconn.send_query_prepared(call.statement.name, call.parameters)
        self.pgconn.pipeline_sync()

    async def _receive(self) -> list[PGresult]:
        """The answers up to the synchronization that ends a pipeline."""
        answers: list[PGresult] = []
        between = False
        unsent = self.pgconn.flush()
        while True:
            await self._ready(writing=bool(unsent))
            self.pgconn.consume_input()
            unsent = unsent and self.pgconn.flush()
            while not self.pgconn.is_busy():
                answer = self.pgconn.get_result()
                if answer is None and between:
                    self._check(answers)
                    raise psycopg.OperationalError("The connection to Postgres was lost.")
                between = answer is None  # once between the answers of two calls
                if answer is None:
                    continue
                if answer.status == ExecStatus.PIPELINE_SYNC:
                    return answers
                answers.append(answer)

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        socket = self.pgconn.socket
        loop.add_reader(socket, _wake, ready)
        if writing:
            loop.add_writer(socket, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if writing:
                loop.remove_writer(socket)

    def _check(self, answers: Sequence[PGresult]) -> None:
        for answer in answers:
            if answer.status not in _NO_ERROR:
                raise psycopg.errors.error_from_result(answer, encoding="utf-8")

    def _result(self, answer: PGresult) -> Result:
        if not answer.ntuples:
            return Result([], answer.command_tuples or 0)
        self._transformer.set_pgresult(answer)
        return Result(self._transformer.load_rows(0, answer.ntuples, tuple), answer.ntuples)


class Transaction:
    """What `Connection.atomic` gives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begun = False

    async def run(self, *calls: Call) -> list[Result]:
        """Run these calls; the first time after a BEGIN. See `Connection.run`."""
        if self._begun:
            return await self._connection.run(*calls)
        self._begun = True
        return (await self._connection.run(BEGIN(), *calls))[1:]

    async def commit(self, *calls: Call) -> list[Result]:
        """Run these calls and commit, in one round trip. If one of them fails, nothing is committed."""
        return (await self.run(*calls, COMMIT()))[:-1]


def _sqlstate(answer: PGresult) -> bytes | None:
    return answer.error_field(DiagnosticField.SQLSTATE) if answer.status == ExecStatus.FATAL_ERROR else None


BEGIN = Statement("BEGIN")
COMMIT = Statement("COMMIT")
ROLLBACK = Statement("ROLLBACK")


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def as_text(value: Any) -> bytes | None:
    """A parameter as Postgres reads it: None, texts, numbers, booleans, UUIDs, datetimes, and flat lists of those.

    Raises `psycopg.DataError` for a NUL, at which libpq would end the value.
    """
    if value is None:
        return None
    text = array(value) if isinstance(value, list) else _plain(value)
    encoded = text.encode()
    if b"\0" in encoded:
        raise psycopg.DataError("Postgres takes no NUL in a text.")
    return encoded


def array(values: Sequence[Any]) -> str:
    """An array literal: texts in quotes, None as NULL. Not for lists in lists."""
    return "{" + ",".join([str(one) if type(one) is int else _quoted(one) for one in values]) + "}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _quoted(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) is UUID:
        return str(value.hex)  # Postgres reads it without its dashes, and nothing in it wants quotes
    if isinstance(value, bool):
        return "true" if value else "false"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
