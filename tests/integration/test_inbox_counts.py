"""What an inbox counts is what counting its messages one by one comes to, and a cached inbox is as fresh as another."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.append import Appended
from inbox import queries, snapshot, store
from runtime import members
from runtime.appender import Appender
from runtime.database import Pool, in_thread, make_pool
from tests.integration.live import PATIENCE, Group, append, make_appender, make_group, unique

# The number of one's unread messages and mentions in the plainest words that SQL has.
COUNT_UNREAD = """
SELECT count(*) FROM conversations_message m JOIN inbox_readcursor r ON r.conversation_id = m.conversation_id
WHERE m.conversation_id = %(conversation)s AND r.participant_id = %(participant)s AND m.seq > r.last_read_seq
  AND m.sender_id <> %(participant)s AND m.kind NOT IN ('system', 'redaction')
"""
COUNT_MENTIONS = """
SELECT count(*) FROM conversations_message m JOIN inbox_readcursor r ON r.conversation_id = m.conversation_id
WHERE m.conversation_id = %(conversation)s AND r.participant_id = %(participant)s AND m.seq > r.last_read_seq
  AND m.sender_id <> %(participant)s AND m.mentions ? %(participant)s
"""


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(4) as pool:
        yield pool


@pytest.fixture
async def appender(pool: Pool) -> AsyncIterator[Appender]:
    appender = make_appender(pool)
    appender.start()
    yield appender
    await appender.stop(PATIENCE)


async def entry(pool: Pool, group: Group, who: int) -> dict[str, Any]:
    async with pool.connection() as connection:
        found = await queries.entries(connection, [(group.people[who], group.id)])
    return found[group.people[who], group.id]


async def counts(pool: Pool, group: Group, who: int) -> tuple[int, int, int]:
    """Unread, mentioned, read up to."""
    one = await entry(pool, group, who)
    return one["unread_count"], one["mention_count"], one["last_read_seq"]


async def read(pool: Pool, group: Group, who: int, seq: int) -> int:
    async with pool.connection() as connection:
        (moved,) = await connection.run(store.move_cursor(group.people[who], group.id, seq))
    return int(moved.rows[0][0])


async def brute_force(pool: Pool, group: Group, who: int) -> tuple[int, int]:
    names = {"conversation": group.id, "participant": group.people[who]}
    async with pool.connection() as connection:
        rows = [
            await (await connection.execute(sql, names)).fetchone() for sql in (COUNT_UNREAD, COUNT_MENTIONS)
        ]
    return rows[0][0], rows[1][0]  # type: ignore[index]


STEPS = st.lists(
    st.tuples(st.just("say"), st.integers(0, 2), st.sampled_from(["hi", "@0", "@1 and @2", "@2 @2"]))
    | st.tuples(st.just("system"), st.integers(0, 2), st.just("@1 was here"))
    | st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 30))
    | st.tuples(st.sampled_from(["leave", "come back"]), st.integers(1, 2), st.none()),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_counts_are_what_counting_comes_to(pool: Pool, appender: Appender, steps: list[Any]) -> None:
    group = await make_group(3)
    present = {0, 1, 2}
    cursors = dict.fromkeys(range(3), 0)
    for what, who, value in steps:
        if what in ("say", "system") and who in present:
            text = value
            for number, name in enumerate(group.people):
                text = text.replace(f"@{number}", f"@{name}")
            kind = "system" if what == "system" else "text"
            await append(appender, group.request(text, who, kind=kind, privileged=what == "system"))
        elif what == "read" and who in present:
            await read(pool, group, who, value)
        elif what == "leave" and who in present:
            await in_thread(members.remove, group.key, group.people[who])
            present.discard(who)
        elif what == "come back":
            await in_thread(members.add, group.key, {group.people[who]: "member"})
            present.add(who)
        for one in present:
            unread, mentioned, cursor = await counts(pool, group, one)
            assert (unread, mentioned) == await brute_force(pool, group, one)
            assert cursor >= cursors[one], "a read cursor went back"
            cursors[one] = cursor


async def test_a_cursor_only_moves_forward_and_ends_with_the_log(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, *[group.request(str(number)) for number in range(5)])
    assert [await read(pool, group, 1, seq) for seq in (0, 2, 1, 4, 2**62, 3)] == [0, 2, 2, 4, 5, 5]
    assert await counts(pool, group, 1) == (0, 0, 5)


async def test_reading_half_leaves_half_unread(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    mention = f"@{group.people[1]}"
    await append(appender, *[group.request(text) for text in ("a", mention, "b", mention, mention)])
    assert await counts(pool, group, 1) == (5, 3, 0)
    await read(pool, group, 1, 2)
    assert await counts(pool, group, 1) == (3, 2, 2)


async def test_sending_reads_up_to_ones_own_message(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, group.request("a"), group.request("b"))
    assert await counts(pool, group, 1) == (2, 0, 0)
    await append(appender, group.request("mine", 1))
    assert await counts(pool, group, 1) == (0, 0, 3)
    assert await counts(pool, group, 0) == (1, 0, 2)


async def test_in_one_batch_everybody_has_read_up_to_its_own_last_message(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group()
    await append(appender, *[group.request(str(number), number % 2) for number in range(7)])
    assert await counts(pool, group, 0) == (0, 0, 7)
    assert await counts(pool, group, 1) == (1, 0, 6)


async def test_system_messages_and_redactions_are_not_unread(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, group.request("secret"))
    await append(
        appender,
        group.request("joined", unique(), kind="system", privileged=True),
        group.request("", kind="redaction", reply_to=1),
    )
    assert await counts(pool, group, 1) == (1, 0, 0)
    last = (await entry(pool, group, 1))["last_message"]
    assert (last["seq"], last["text"]) == (1, ""), "the preview is blanked with its message"


async def test_one_who_mentions_itself_is_not_told(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, group.request(f"@{group.people[0]} and @{group.people[1]}"))
    assert (await counts(pool, group, 0))[1] == 0
    assert (await counts(pool, group, 1))[1] == 1


async def test_a_redacted_message_mentions_nobody(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await append(appender, group.request(f"@{group.people[1]}"))
    assert (await counts(pool, group, 1))[1] == 1
    await append(appender, group.request("", kind="redaction", reply_to=1))
    assert (await counts(pool, group, 1))[1] == 0


async def test_what_was_said_before_one_came_is_not_unread(pool: Pool, appender: Appender) -> None:
    group = await make_group(1)
    await append(appender, group.request("a"), group.request("b"))
    late = Group(group.id, group.key, (*group.people, unique()))
    await in_thread(members.create, unique("c"), "group", {late.people[1]: "member"}, make_participants=True)
    await in_thread(members.add, group.key, {late.people[1]: "member"})
    assert await counts(pool, late, 1) == (0, 0, 2)
    await append(appender, group.request("welcome"))
    assert await counts(pool, late, 1) == (1, 0, 2)


# The cached snapshot.


async def cached(pool: Pool, owner: str) -> list[dict[str, Any]]:
    async with pool.connection() as connection:
        found = orjson.loads(await snapshot.snapshot(connection, owner, 1_000))
    assert isinstance(found, list)
    return found


async def uncached(pool: Pool, owner: str) -> list[dict[str, Any]]:
    """What the snapshot would be if it were built anew."""
    async with pool.connection() as connection:
        versions = await queries.versions(connection, owner, 1_000)
        built = await queries.entries(connection, [(owner, one) for one in versions])
    return [built[owner, one] for one in versions]


async def crowd(number: int) -> tuple[str, list[Group]]:
    """Somebody with so many conversations, the newest first."""
    owner, friend = unique(), unique()
    groups = [await make_group([owner, friend]) for _ in range(number)]
    return owner, groups[::-1]


async def test_a_cached_snapshot_is_as_fresh_as_another(pool: Pool, appender: Appender) -> None:
    owner, groups = await crowd(snapshot.WORTH_CACHING + 2)
    friend = groups[0].people[1]

    async def agree() -> list[dict[str, Any]]:
        found = await cached(pool, owner)
        assert found == await uncached(pool, owner)
        return found

    assert [one["key"] for one in await agree()] == [group.key for group in groups]
    assert cache.get(f"inbox.{owner}"), "so many conversations are worth caching"
    (said,) = await append(appender, groups[5].request(f"hi @{owner}", 1))
    assert isinstance(said, Appended)
    newest = (await agree())[0]
    assert (newest["key"], newest["unread_count"], newest["mention_count"]) == (groups[5].key, 1, 1)
    await read(pool, groups[5], 0, 1)
    assert (await agree())[0]["unread_count"] == 0
    await append(appender, groups[5].request("", 1, kind="redaction", reply_to=1))
    assert (await agree())[0]["last_message"]["text"] == ""
    await in_thread(members.change, groups[7].key, owner, role=None, muted=True)
    assert (await agree())[0]["muted"] is True
    await in_thread(members.describe, groups[8].key, title="New", metadata=None)
    assert (await agree())[0]["title"] == "New"
    await in_thread(members.set_state, groups[9].key, "archived")
    await in_thread(members.remove, groups[10].key, owner)
    await in_thread(members.remove, groups[11].key, friend)
    found = {one["key"]: one for one in await agree()}
    assert groups[9].key not in found
    assert groups[10].key not in found
    assert found[groups[11].key]["participants"] == [owner]


async def test_an_unchanged_inbox_is_read_from_the_cache(pool: Pool) -> None:
    owner, groups = await crowd(snapshot.WORTH_CACHING)
    first = await cached(pool, owner)
    key = f"inbox.{owner}"
    stored = orjson.loads(cache.get(key))
    stored[str(groups[3].id)][1]["title"] = "from the cache"
    cache.set(key, orjson.dumps(stored))
    again = await cached(pool, owner)
    assert again[3] == first[3] | {"title": "from the cache"}
    assert again[:3] + again[4:] == first[:3] + first[4:]


async def test_a_snapshot_has_an_end(pool: Pool) -> None:
    owner, groups = await crowd(4)
    async with pool.connection() as connection:
        found = orjson.loads(await snapshot.snapshot(connection, owner, 2))
    assert [one["key"] for one in found] == [group.key for group in groups[:2]]
