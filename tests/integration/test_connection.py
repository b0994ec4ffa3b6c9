"""Prepared statements sent together: results in order, errors where they belong, and a connection that is never out of step."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from conversations.connection import Call, Connection, Statement
from runtime.database import Pool, make_pool

ECHO = Statement("SELECT $1::text")
ADD = Statement("SELECT $1::int + $2::int")
DIVIDE = Statement("SELECT 1 / $1::int")
SLEEP = Statement("SELECT pg_sleep($1::float8)")
MAKE = Statement("CREATE TEMPORARY TABLE noted (word text)")
NOTE = Statement("INSERT INTO noted SELECT * FROM unnest($1::text[])")
SLEEPING = Statement(
    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
)
TERMINATE = Statement("SELECT pg_terminate_backend($1::int)")
NOTED = Statement("SELECT word FROM noted ORDER BY word")


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(2) as one:
        yield one


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.connection() as one:
        yield one


async def words(connection: Connection) -> list[str]:
    (found,) = await connection.run(NOTED())
    return [word for (word,) in found.rows]


async def test_results_come_in_the_order_of_the_calls(connection: Connection) -> None:
    await connection.run(MAKE())
    results = await connection.run(ADD(1, 2), ECHO("x"), ADD(3, 4), NOTE(["a", "b"]))
    assert [result.rows for result in results] == [[(3,)], [("x",)], [(7,)], []]
    assert results[-1].count == 2


async def test_values_arrive_as_they_were() -> None:
    values = [None, "", "ü🙂", 'quo"te', "back\\slash", "NULL", "{a,b}", " space "]
    identity, moment = uuid4(), datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    typed = Statement(
        "SELECT $1::text[], $2::bigint[], $3::uuid[], $4::timestamptz, $5::bool, $6::uuid, $7::jsonb, $8::bool[]"
    )
    async with make_pool(2) as pool, pool.connection() as connection:
        call = typed(
            values, [1, None, -(2**63)], [identity], moment, False, identity, '{"a": [1]}', [True, False]
        )
        (result,) = await connection.run(call)
        for value in values:
            (echoed,) = await connection.run(ECHO(value))
            assert echoed.rows == [(value,)]
    assert result.rows == [
        (
            values,
            [1, None, -(2**63)],
            [UUID(str(identity))],
            moment,
            False,
            identity,
            {"a": [1]},
            [True, False],
        )
    ]


def test_a_nul_is_refused_before_it_is_sent() -> None:
    with pytest.raises(psycopg.DataError):
        ECHO("a\0b")
    with pytest.raises(psycopg.DataError):
        NOTE(["a\0b"])


async def test_what_is_larger_than_any_buffer(connection: Connection) -> None:
    large = "x" * 12_000_000
    first, second = await connection.run(ECHO(large), ECHO(large[:-1]))
    equal = first.rows == [(large,)], second.rows == [(large[:-1],)]
    assert all(equal)  # not the texts themselves, which would take minutes to show


async def test_after_an_error_nothing_of_the_same_run_has_happened(connection: Connection) -> None:
    await connection.run(MAKE())
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.run(NOTE(["before"]), DIVIDE(0), NOTE(["after"]))
    assert await words(connection) == []
    assert (await connection.run(DIVIDE(1)))[0].rows == [(1,)]


async def test_a_transaction_is_committed_whole_or_not_at_all(connection: Connection) -> None:
    await connection.run(MAKE())
    async with connection.atomic() as transaction:
        await transaction.run(NOTE(["one"]))
        (result,) = await transaction.commit(NOTE(["two", "three"]))
    assert result.count == 2
    with pytest.raises(psycopg.errors.DivisionByZero):
        await _lose(connection, DIVIDE(0))
    with pytest.raises(RuntimeError):
        await _lose(connection, None)
    assert await words(connection) == ["one", "three", "two"]
    assert connection.info.transaction_status == TransactionStatus.IDLE


async def _lose(connection: Connection, last: Call | None) -> None:
    async with connection.atomic() as transaction:
        await transaction.run(NOTE(["lost"]))
        if last is None:
            raise RuntimeError
        await transaction.commit(NOTE(["lost"]), last)


async def test_an_interrupted_run_takes_its_connection_along(pool: Pool) -> None:
    """The answer that is still to come must not be taken for that of the next caller."""

    async with pool.connection() as watcher:
        sleeping = asyncio.create_task(sleep(pool))
        pid = await asyncio.wait_for(until_it_sleeps(watcher), 5)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        await watcher.run(TERMINATE(pid))  # it would sleep on: nobody has told it
    for _ in range(3):
        async with pool.connection() as connection:
            assert (await connection.run(ADD(20, 22)))[0].rows == [(42,)]


async def test_a_connection_that_is_cut_off_raises_and_does_not_wait(pool: Pool) -> None:
    async with pool.connection() as killer:
        sleeping = asyncio.create_task(sleep(pool))
        pid = await asyncio.wait_for(until_it_sleeps(killer), 5)
        await killer.run(TERMINATE(pid))
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(sleeping, 5)
    for _ in range(3):
        async with pool.connection() as connection:
            assert (await connection.run(ADD(1, 1)))[0].rows == [(2,)]


async def sleep(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.run(ECHO("first"), SLEEP(30), ECHO("last"))


async def until_it_sleeps(watcher: Connection) -> int:
    """The process that Postgres lets sleep."""
    while not (found := (await watcher.run(SLEEPING()))[0].rows):
        pass
    return int(found[0][0])


async def test_statements_that_were_deallocated_are_prepared_anew(connection: Connection) -> None:
    """psycopg deallocates all prepared statements after a rollback of its own."""
    await connection.run(MAKE())
    await connection.run(ECHO("known"), NOTE([]), NOTED())
    await connection.execute("DEALLOCATE ALL")
    for _ in range(3):  # one that is new, between two that are thought to be known
        results = await connection.run(ECHO("again"), ADD(1, 1), NOTED())
        assert [result.rows for result in results] == [[("again",)], [(2,)], []]
    await connection.execute("DEALLOCATE ALL")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):  # a transaction is its owner's to begin anew
        await _lose(connection, ECHO("forgotten"))
    assert await words(connection) == []


async def test_cursors_of_psycopg_go_on_beside_it(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("CREATE TEMPORARY TABLE beside (n int) ON COMMIT DROP")
        await connection.run(Statement("INSERT INTO beside VALUES ($1::int)")(7))
        cursor = await connection.execute("SELECT n FROM beside")
        assert await cursor.fetchall() == [(7,)]
