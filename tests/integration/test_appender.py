"""Group commit: what waits goes out together, what is wrong fails alone, and nothing is acknowledged that is not stored."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from prometheus_client import REGISTRY

from agents import registration
from conversations.append import Appended, AppendRequest
from conversations.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    FleetLMError,
    InvalidRequest,
    NotAMember,
    Overloaded,
    Unavailable,
)
from runtime import members
from runtime.appender import Appender
from runtime.batch import Committed, MembersCache, commit_batch
from runtime.core import Runtime
from runtime.database import Pool, in_thread, make_pool
from tests.integration.live import (
    PATIENCE,
    Group,
    append,
    break_connections,
    holding,
    make_appender,
    make_group,
    stored_seqs,
    unique,
    until,
    waiting_for,
)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(4) as pool:
        yield pool


@pytest.fixture
def commits() -> list[Committed]:
    """What the appender has told of its commits."""
    return []


@pytest.fixture
async def appender(pool: Pool, commits: list[Committed]) -> AsyncIterator[Appender]:
    appender = make_appender(pool, commits.append)
    appender.start()
    yield appender
    await appender.stop(PATIENCE)


async def fetch(pool: Pool, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    async with pool.connection() as connection:
        return await (await connection.execute(sql, values)).fetchall()


async def transactions(pool: Pool, group: Group) -> int:
    """How many transactions wrote the messages of this group."""
    ((number,),) = await fetch(
        pool,
        "SELECT count(DISTINCT xmin::text) FROM conversations_message WHERE conversation_id = %s",
        group.id,
    )
    return int(number)


async def outcomes(appender: Appender, *requests: AppendRequest) -> list[Any]:
    """What each of these comes to; errors are kept."""
    futures = [appender.submit(request) for request in requests]
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*futures, return_exceptions=True)


def locked(group: Group) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """Somebody holds the conversation's row, so that a commit has to wait."""
    return holding("SELECT 1 FROM conversations_conversation WHERE id = %s FOR UPDATE", group.id)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# Together and alone.


async def test_what_waits_in_one_turn_is_one_transaction(
    pool: Pool, appender: Appender, commits: list[Committed]
) -> None:
    group = await make_group()
    before = metric("fleetlm_append_batch_messages_count")
    appended = await append(appender, *[group.request(str(number)) for number in range(200)])
    assert [one.message.seq for one in appended] == list(range(1, 201))
    assert await stored_seqs(pool, group) == list(range(1, 201))
    assert await transactions(pool, group) == len(commits) == 1
    assert metric("fleetlm_append_batch_messages_count") == before + 1


async def test_what_comes_during_a_commit_waits_for_the_next_one(
    pool: Pool, appender: Appender, commits: list[Committed]
) -> None:
    group = await make_group()
    async with locked(group) as lock:
        first = appender.submit(group.request("first"))
        await waiting_for(lock)
        rest = [appender.submit(group.request(str(number))) for number in range(50)]
        assert not any(future.done() for future in (first, *rest))
    appended = await asyncio.gather(first, *rest)
    assert [one.message.seq for one in appended] == list(range(1, 52))
    assert [len(commit.messages) for commit in commits] == [1, 50]


async def test_a_batch_has_an_end(pool: Pool, commits: list[Committed]) -> None:
    group = await make_group()
    appender = make_appender(pool, commits.append, batch_items=10)
    appender.start()
    await append(appender, *[group.request() for _ in range(25)])
    assert [len(commit.messages) for commit in commits] == [10, 10, 5]
    await appender.stop(PATIENCE)


async def test_the_acknowledgement_is_what_is_stored(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    sent = group.request(
        "hi @" + group.people[1],
        kind="image",
        content={"a": [1, 2.5, None, {"é": "\U0001f600"}]},
        metadata={"b": True},
        client_id="c:1",
    )
    await append(appender, group.request("before"))
    (one,) = await append(appender, group.request("reply", reply_to=1))
    (two,) = await append(appender, sent)
    assert (one.message.reply_to, two.deduplicated) == (1, False)
    (row,) = await fetch(
        pool,
        "SELECT id, seq, sender_id, kind, text, content, metadata, reply_to, mentions, client_id, created_at "
        "FROM conversations_message WHERE conversation_id = %s AND seq = 3",
        group.id,
    )
    message = two.message
    assert row == (
        message.id,
        3,
        group.people[0],
        "image",
        sent.text,
        sent.content,
        sent.metadata,
        None,
        [group.people[1]],
        "c:1",
        message.created_at,
    )


async def test_one_that_breaks_a_rule_fails_alone(appender: Appender, commits: list[Committed]) -> None:
    group, closed = await make_group(), await make_group()
    await in_thread(members.set_state, closed.key, "closed")
    good, outsider, shut, nowhere, last = await outcomes(
        appender,
        group.request("one"),
        group.request("two", sender=unique()),
        closed.request("three"),
        AppendRequest(key=unique(), sender_id=group.people[0], text="four"),
        group.request("five", 1),
    )
    assert (good.message.seq, last.message.seq) == (1, 2)
    assert isinstance(outsider, NotAMember)
    assert isinstance(shut, ConversationClosed)
    assert isinstance(nowhere, ConversationNotFound)
    assert len(commits) == 1


@pytest.mark.parametrize(
    "poison",
    [
        {"text": "a\0b"},
        {"content": {"a": "\0"}},
        {"metadata": {"\0": 1}},
        {"content": {"a": 2**70}},
        {"content": {"a": object()}},
        {"text": "\ud800"},
        {"client_id": "x" * 200},
    ],
    ids=["text", "content", "metadata", "number", "object", "surrogate", "client_id"],
)
async def test_one_that_postgres_cannot_store_fails_alone(
    pool: Pool, appender: Appender, poison: dict[str, Any]
) -> None:
    """Nothing of the kind should come this far; if it does, it harms nobody else."""
    group, other = await make_group(), await make_group()
    bad = AppendRequest(**({"key": group.key, "sender_id": group.people[0], "text": "bad"} | poison))
    first, refused, last, elsewhere = await outcomes(
        appender, group.request("one"), bad, group.request("two"), other.request("three")
    )
    assert isinstance(refused, InvalidRequest)
    assert (first.message.seq, last.message.seq, elsewhere.message.seq) == (1, 2, 1)
    assert await stored_seqs(pool, group) == [1, 2]
    (after,) = await append(appender, group.request("three"))
    assert after.message.seq == 3


# Retries.


async def test_a_retry_through_another_process_is_the_same_message(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    async with make_pool(2) as elsewhere:
        other = make_appender(elsewhere)
        other.start()
        request = group.request("once", client_id="c")
        both = await asyncio.gather(
            *[one.submit(request) for one in (appender, other) for _ in range(20)], return_exceptions=True
        )
        reused = await outcomes(other, group.request("another", client_id="c"))
        await other.stop(PATIENCE)
    assert {(one.message.seq, one.message.id) for one in both} == {(1, both[0].message.id)}
    assert sum(not one.deduplicated for one in both) == 1
    assert isinstance(reused[0], ClientIdReused)
    assert await stored_seqs(pool, group) == [1]


async def test_a_member_removed_elsewhere_is_refused_at_once(appender: Appender) -> None:
    """The members are cached: the locked row's version keeps the cache honest."""
    group = await make_group(3)
    await append(appender, group.request("hi", 1))
    await in_thread(members.remove, group.key, group.people[1])
    (refused,) = await outcomes(appender, group.request("still here?", 1))
    assert isinstance(refused, NotAMember)
    await in_thread(members.add, group.key, {group.people[1]: "member"})
    (back,) = await append(appender, group.request("back", 1))
    assert back.message.seq == 2


async def test_the_cache_of_members_is_bounded_and_right(pool: Pool) -> None:
    from conversations import store

    groups = [await make_group() for _ in range(4)]
    cache = MembersCache(7)  # of groups of two
    for some in (groups[:1], groups[1:3], groups, groups[2:], groups[:2]):
        async with pool.connection() as connection, connection.transaction():
            heads, *_ = await store.lock_and_look(connection, [group.request("") for group in some])
            found = await cache.load(connection, list(heads.values()))
        assert found == {group.id: dict.fromkeys(group.people, "member") for group in some}
    assert list(cache._members) == [group.id for group in groups[:2]]


# Bounds.


async def test_a_full_queue_refuses_at_once(pool: Pool) -> None:
    group = await make_group()
    appender = make_appender(pool, queue_items=3)
    futures = [appender.submit(group.request(str(number))) for number in range(3)]
    with pytest.raises(Overloaded) as caught:
        appender.submit(group.request("too much"))
    assert caught.value.status == 503
    assert caught.value.details["retry_after"] > 0
    appender.start()
    assert [one.message.seq for one in await asyncio.gather(*futures)] == [1, 2, 3]
    await append(appender, group.request("there is room again"))
    await appender.stop(PATIENCE)
    assert await stored_seqs(pool, group) == [1, 2, 3, 4]


async def test_a_queue_is_bounded_in_bytes_too(pool: Pool) -> None:
    group = await make_group()
    appender = make_appender(pool, queue_bytes=10_000)
    future = appender.submit(group.request("x" * 8_000, size=8_000))
    with pytest.raises(Overloaded):
        appender.submit(group.request("x" * 2_000, size=2_000))
    small = appender.submit(group.request("x", size=1))
    appender.start()
    await asyncio.gather(future, small)
    await append(appender, group.request("x" * 8_000, size=8_000))
    await appender.stop(PATIENCE)
    assert await stored_seqs(pool, group) == [1, 2, 3]


# Requests that are cut off.


async def test_a_request_that_was_cut_off_before_its_turn_stores_nothing(pool: Pool) -> None:
    group = await make_group()
    appender = make_appender(pool)
    futures = [appender.submit(group.request(str(number))) for number in range(5)]
    futures[1].cancel()
    futures[3].cancel()
    appender.start()
    kept = await asyncio.gather(futures[0], futures[2], futures[4])
    assert [one.message.seq for one in kept] == [1, 2, 3]
    assert [one.message.text for one in kept] == ["0", "2", "4"]
    await appender.stop(PATIENCE)


async def test_a_request_that_is_cut_off_during_its_commit_harms_nobody(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group()
    async with locked(group) as lock:
        cut, kept = appender.submit(group.request("cut")), appender.submit(group.request("kept"))
        await waiting_for(lock)
        cut.cancel()
    assert (await kept).message.seq == 2
    (after,) = await append(appender, group.request("after"))
    assert after.message.seq == 3


# Postgres in trouble.


async def test_a_connection_that_is_killed_answers_unavailable_and_the_next_append_works(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group()
    async with locked(group) as lock:
        futures = [appender.submit(group.request(str(number), client_id=f"c{number}")) for number in range(5)]
        (pid,) = await waiting_for(lock)
        await lock.execute("SELECT pg_terminate_backend(%s)", (pid,))
        async with asyncio.timeout(PATIENCE):
            failed = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in failed)
    assert await stored_seqs(pool, group) == []
    again = await outcomes(
        appender, *[group.request(str(number), client_id=f"c{number}") for number in range(5)]
    )
    assert [one.message.seq for one in again] == [1, 2, 3, 4, 5]
    assert not any(one.deduplicated for one in again)


async def test_whatever_is_killed_whenever_no_acknowledgement_is_wrong(pool: Pool) -> None:
    """Clients retry until they are answered; a killer ends the appender's connections in the midst of it."""
    groups = [await make_group() for _ in range(3)]
    acknowledged: list[Appended] = []
    kills = 0
    victims = make_pool(4)
    victims.kwargs["application_name"] = name = unique("victim")  # type: ignore[index]
    await victims.open()
    appender = make_appender(victims)
    appender.start()

    async def client(number: int) -> None:
        turn = 0
        while turn < 8 or kills < 4:
            turn += 1
            request = groups[number % 3].request(client_id=f"{number}.{turn}")
            while True:
                with contextlib.suppress(Unavailable):
                    acknowledged.append(await appender.submit(request))
                    break

    async def killer(clients: asyncio.Future[Any]) -> None:
        nonlocal kills
        connect = psycopg.AsyncConnection.connect(settings.FLEETLM.database_url, autocommit=True)
        async with await connect as connection:
            while not clients.done():
                cursor = await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = %s AND state = 'active' AND query LIKE '%%conversations_%%'",
                    (name,),
                )
                if await cursor.fetchall():
                    kills += 1
                    answered = len(acknowledged)
                    await until(lambda: len(acknowledged) > answered or clients.done())  # noqa: B023  # right here

    clients = asyncio.gather(*[client(number) for number in range(12)])
    async with asyncio.timeout(4 * PATIENCE):
        await asyncio.gather(clients, killer(clients))
    await appender.stop(PATIENCE)
    await victims.close()
    for group in groups:
        mine = [one.message for one in acknowledged if one.message.conversation == group.key]
        stored = await fetch(
            pool,
            "SELECT seq, id, client_id FROM conversations_message WHERE conversation_id = %s ORDER BY seq",
            group.id,
        )
        assert [row[0] for row in stored] == list(range(1, len(mine) + 1))
        assert sorted((m.seq, m.id, m.client_id) for m in mine) == stored


async def test_after_postgres_was_restarted_appends_go_on(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, group.request("before"))
    await break_connections(pool)
    failures = 0
    while True:
        (outcome,) = await outcomes(appender, group.request("after", client_id="c"))
        if isinstance(outcome, Appended):
            break
        assert isinstance(outcome, Unavailable)
        failures += 1
        assert failures <= 4, "more than the pool has connections"
    assert outcome.message.seq == 2


async def test_a_deadlock_with_somebody_else_is_tried_again(pool: Pool, appender: Appender) -> None:
    one, other = await make_group(), await make_group()
    async with locked(other) as lock:
        futures = [appender.submit(one.request()), appender.submit(other.request())]
        await waiting_for(lock)  # it holds the first and waits for the second
        await lock.execute(
            "SET LOCAL deadlock_timeout = '60s'"
        )  # so that the appender is the one to find out
        await lock.execute("SELECT 1 FROM conversations_conversation WHERE id = %s FOR UPDATE", (one.id,))
    async with asyncio.timeout(PATIENCE):
        appended = await asyncio.gather(*futures)
    assert [a.message.seq for a in appended] == [1, 1]


async def test_appenders_that_take_many_conversations_in_any_order_never_fail(pool: Pool) -> None:
    groups = [await make_group() for _ in range(12)]
    async with make_pool(2) as one, make_pool(2) as other:
        appenders = [make_appender(one), make_appender(other)]
        for appender in appenders:
            appender.start()

        async def client(appender: Appender, seed: int) -> None:
            order = random.Random(seed)
            for _ in range(12):
                some = order.sample(groups, len(groups))
                await append(appender, *[group.request(sender=seed % 2) for group in some])

        async with asyncio.timeout(4 * PATIENCE):
            await asyncio.gather(*[client(appender, seed) for seed in range(3) for appender in appenders])
        for appender in appenders:
            await appender.stop(PATIENCE)
    for group in groups:
        assert await stored_seqs(pool, group) == list(range(1, 73))


# The end.


async def test_stop_commits_what_waits(pool: Pool, commits: list[Committed]) -> None:
    group = await make_group()
    appender = make_appender(pool, commits.append, batch_items=20)
    appender.start()
    futures = [appender.submit(group.request(str(number))) for number in range(110)]
    await appender.stop(PATIENCE)
    assert all(future.done() for future in futures)
    assert [future.result().message.seq for future in futures] == list(range(1, 111))
    assert await stored_seqs(pool, group) == list(range(1, 111))


async def test_stop_answers_what_it_could_not_commit(pool: Pool) -> None:
    group = await make_group()
    appender = make_appender(pool, batch_items=1)
    appender.start()
    async with locked(group) as lock:
        under_way, waiting = appender.submit(group.request("one")), appender.submit(group.request("two"))
        await waiting_for(lock)
        await appender.stop(0.05)
        for future in (under_way, waiting):
            with pytest.raises(Unavailable):
                await asyncio.wait_for(future, 1)
    assert await stored_seqs(pool, group) == []


async def test_after_stop_everything_is_refused(pool: Pool) -> None:
    group = await make_group()
    appender = make_appender(pool)
    appender.start()
    await append(appender, group.request())
    await appender.stop(PATIENCE)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(appender.submit(group.request("late")), 1)


async def test_the_gateway_makes_a_dm_at_its_first_message() -> None:
    runtime = Runtime()
    await runtime.start()
    one, other = sorted((unique(), unique()))
    request = AppendRequest(key=f"{one}:{other}", sender_id=other, text="hi")
    try:
        with pytest.raises(ConversationNotFound):
            await runtime.gateway.append(request)
        both: list[Appended | FleetLMError] = await asyncio.gather(
            *[runtime.gateway.append(request, create=True) for _ in range(5)]
        )
    finally:
        await runtime.stop()
    assert sorted(one.message.seq for one in both if isinstance(one, Appended)) == [1, 2, 3, 4, 5]


Told = Callable[[Committed], None]


async def test_nobody_is_told_before_the_commit(pool: Pool) -> None:
    group = await make_group()
    seen: list[asyncio.Task[list[int]]] = []
    appender = make_appender(pool, lambda batch: seen.append(asyncio.create_task(stored_seqs(pool, group))))
    appender.start()
    await append(appender, group.request(), group.request())
    assert [await task for task in seen] == [[1, 2]]
    await appender.stop(PATIENCE)


async def test_an_append_that_concerns_no_agent_wakes_no_dispatcher(here: Runtime) -> None:
    """In a pipeline Postgres says how many streams were marked when the pipeline is over."""
    quiet, heard = unique(), unique()
    await in_thread(members.create, quiet, "group", {"a": "member"}, make_participants=True)
    agent_id = f"agent-{heard}"
    await in_thread(registration.register_agent, agent_id, "http://127.0.0.1:9/")
    await in_thread(members.create, heard, "group", {"a": "member", agent_id: "member"})
    due = {}
    for key in (quiet, heard):
        async with here.pool.connection() as connection:
            request = AppendRequest(key=key, sender_id="a", text="hi", privileged=True)
            due[key] = (await commit_batch(connection, [request], MembersCache(10))).deliveries_due
    assert due == {quiet: False, heard: True}
