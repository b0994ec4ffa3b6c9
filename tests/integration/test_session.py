"""One live conversation in one process: whatever comes in, and however, every subscriber sees each seq once, in order."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pytest_django import Settings

from conversations.models import Conversation
from runtime import members
from runtime.ahead import LIMIT as AHEAD_LIMIT
from runtime.ahead import Room
from runtime.appender import Appender
from runtime.batch import Committed
from runtime.database import Pool, in_thread, make_pool
from runtime.pages import encode
from runtime.replay import PORTION_BYTES
from runtime.session import Session
from runtime.tail import TailMemory
from tests.integration.live import (
    PATIENCE,
    Group,
    Recorder,
    append,
    break_connections,
    find_view,
    holding,
    make_appender,
    make_group,
    silent_appender,
    unique,
    until,
    waiting_for,
)

LONG = 12
"""Messages of the log that the property tests play with."""


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(4) as pool:
        yield pool


@pytest.fixture
async def appender(pool: Pool) -> AsyncIterator[Appender]:
    """It stores messages and tells nobody."""
    async with silent_appender() as appender:
        yield appender


async def open_session(pool: Pool, group: Group) -> Session:
    return Session(pool, await find_view(pool, group), announce=lambda op, refs: None)


async def joined(pool: Pool, session: Session, group: Group, who: int | None = 0) -> Recorder:
    """A live subscriber that is one of the group, or a server."""
    participant_id = None if who is None else group.people[who]
    recorder = Recorder(participant_id, session)
    session.add(recorder, (await find_view(pool, group, participant_id)).version)
    await session.follow(recorder, session.last_seq)
    return recorder


async def write(appender: Appender, group: Group, number: int, sender: int = 0) -> list[tuple[int, bytes]]:
    """Append so many messages; returns them as a publish carries them."""
    appended = await append(appender, *[group.request(f"message {n}", sender) for n in range(number)])
    return [(one.message.seq, encode(one.message)) for one in appended]


def repairs() -> float:
    return REGISTRY.get_sample_value("fleetlm_session_repairs_total") or 0.0


async def test_a_message_is_delivered_with_its_seq_and_payload(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    one, other = await joined(pool, session, group), await joined(pool, session, group, 1)
    entries = await write(appender, group, 1)
    session.offer(1, entries)
    assert one.frames == other.frames == [("message", orjson.loads(entries[0][1]), 1)]
    assert one.payloads("message")[0]["text"] == "message 0"
    session.stop()


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.integers(1, LONG), max_size=2 * LONG),
    cuts=st.lists(st.integers(1, 4), min_size=2 * LONG, max_size=2 * LONG),
    known=st.integers(0, 4),
    tail=st.booleans(),
)
async def test_offers_in_any_order_twice_or_never_are_delivered_once_and_in_order(
    pool: Pool, appender: Appender, order: list[int], cuts: list[int], known: int, tail: bool
) -> None:
    """What is never offered comes from Postgres: by itself when something after it came, by a repair otherwise."""
    group = await make_group()
    before = await write(appender, group, known) if known and not tail else []
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    if known and tail:
        before = await write(appender, group, known)
        session.offer(1, before)
    entries = dict(await write(appender, group, LONG))
    first = len(before)
    waiting = list(order)
    for cut in cuts:
        offered, waiting = waiting[:cut], waiting[cut:]
        if offered:
            session.offer(1, [(first + n, entries[first + n]) for n in offered])
    if order:
        await recorder.until(lambda one: session.last_seq >= first + max(order))
    await session.repair(last_seq=first + LONG, version=1)
    assert recorder.seqs == list(range(1 if tail else first + 1, first + LONG + 1))
    assert [p["seq"] for p in recorder.payloads("message")] == recorder.seqs
    session.stop()


async def test_what_no_publish_has_brought_is_repaired_from_postgres(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    await write(appender, group, 3)
    await session.check()
    assert recorder.seqs == [1, 2, 3]
    # Now the tail holds messages, and a lost publish must be found all the same.
    await write(appender, group, 3)
    before = repairs()
    await session.check()
    assert recorder.seqs == [1, 2, 3, 4, 5, 6]
    assert repairs() == before + 1
    await session.check()
    assert repairs() == before + 1
    session.stop()


async def test_a_hole_is_filled_without_another_message(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    entries = await write(appender, group, 5)
    session.offer(1, entries[:1])
    session.offer(1, entries[3:4])
    assert recorder.seqs == [1]
    await recorder.until_seq(5)
    session.stop()


async def test_a_hole_that_closes_by_itself_asks_nothing_of_postgres(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    entries = await write(appender, group, 3)
    before = repairs()
    session.offer(1, entries[1:])
    session.offer(1, entries[:1])
    assert recorder.seqs == [1, 2, 3]
    assert repairs() == before
    session.stop()


async def test_far_more_ahead_than_is_kept_arrives_in_order(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    entries = await write(appender, group, AHEAD_LIMIT + 300)
    session.offer(1, entries[1:])
    await recorder.until_seq(AHEAD_LIMIT + 300)
    assert len(recorder.seqs) == AHEAD_LIMIT + 300
    session.stop()


async def test_a_repair_longer_than_a_page_brings_everything(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    await write(appender, group, 1_200)
    await asyncio.gather(*[session.check() for _ in range(4)])
    assert recorder.seqs == list(range(1, 1_201))
    session.stop()


@pytest.mark.parametrize("hot", [True, False], ids=["from the tail", "from Postgres"])
async def test_joins_while_messages_are_appended_miss_nothing_and_get_nothing_twice(
    pool: Pool, settings: Settings, hot: bool
) -> None:
    if not hot:
        settings.FLEETLM = settings.FLEETLM.model_copy(update={"session_tail_messages": 0})
    group = await make_group()
    session = await open_session(pool, group)
    async with make_pool(2) as other:

        def publish(batch: Committed) -> None:
            if hot or batch.messages[0].seq % 3:
                session.offer(1, [(m.seq, encode(m)) for m in batch.messages])

        writer = make_appender(other, publish, batch_items=2)
        writer.start()

        async def talk() -> None:
            for number in range(120):
                await writer.submit(group.request(f"message {number}"))

        async def keep_joining() -> list[tuple[int, Recorder]]:
            """One after the other, each as soon as the one before it has got a message that is new."""
            found = []
            while session.last_seq < 110:
                after = max(session.last_seq - len(found) % 7, 0)
                recorder = Recorder(group.people[1], session)
                session.add(recorder, 1)
                start, recovered = await session.starting_point(after, str(session.epoch))
                assert recovered
                await session.follow(recorder, start)
                found.append((after, recorder))
                seen = session.last_seq
                await recorder.until(lambda one: session.last_seq > seen)  # noqa: B023  # awaited right here
            return found

        _, *found = await asyncio.gather(talk(), keep_joining(), keep_joining(), keep_joining())
        await session.check()
        await writer.stop(5)
    recorders = [pair for some in found for pair in some]
    assert len(recorders) > 20
    for after, recorder in recorders:
        assert recorder.seqs == list(range(after + 1, 121)), f"joined after {after}"
    session.stop()


async def test_a_replay_outlives_an_outage_of_postgres(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await write(appender, group, 5)
    session = await open_session(pool, group)
    recorder = Recorder(group.people[0], session)
    session.add(recorder, 1)
    await break_connections(pool)
    await asyncio.wait_for(session.follow(recorder, 0), PATIENCE)
    session.offer(1, await write(appender, group, 1))
    await recorder.until_seq(6)
    session.stop()


async def test_a_place_that_the_log_never_had_starts_anew(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    await write(appender, group, 3)
    session = await open_session(pool, group)
    epoch = str(session.epoch)
    assert await session.starting_point(None, None) == (3, False)
    assert await session.starting_point(1, epoch) == (1, True)
    assert await session.starting_point(3, None) == (3, True)
    assert await session.starting_point(4, epoch) == (3, False)
    assert await session.starting_point(1, unique()) == (3, False)
    # A seq beyond what this process has heard of may be real: Postgres is asked.
    await write(appender, group, 2)
    assert await session.starting_point(5, epoch) == (5, True)
    session.stop()


async def test_the_newest_messages_come_from_the_tail_or_from_postgres(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group()
    cold = await write(appender, group, 3)
    session = await open_session(pool, group)
    assert await session.newest(2) == (3, cold[1:])
    hot = await write(appender, group, 2)
    session.offer(1, hot)
    assert await session.newest(2) == (5, hot)
    assert await session.newest(4) == (5, cold[1:] + hot)
    assert await session.newest(50) == (5, cold + hot)
    session.stop()


async def test_a_redaction_reaches_those_who_come_later_as_a_blank(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    session.offer(1, await write(appender, group, 2))
    (redaction,) = await append(appender, group.request("", kind="redaction", reply_to=1))
    session.offer(1, [(3, encode(redaction.message))])
    _, page = await session.newest(10)
    assert [orjson.loads(payload)["text"] for _, payload in page] == ["", "message 1", ""]
    recorder = Recorder(group.people[1], session)
    session.add(recorder, 1)
    await session.follow(recorder, 0)
    assert [p["text"] for p in recorder.payloads("message")] == ["", "message 1", ""]
    session.stop()


# Who may read.


async def remove(group: Group, who: int) -> Conversation:
    return await in_thread(members.remove, group.key, group.people[who])


async def test_a_member_that_was_removed_gets_nothing_that_was_written_after_it(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group(3)
    session = await open_session(pool, group)
    stays, leaves = await joined(pool, session, group, 0), await joined(pool, session, group, 1)
    session.offer(1, await write(appender, group, 1))
    version = (await remove(group, 1)).version
    # The message arrives before anybody has said that a member is gone: its version says so.
    session.offer(version, await write(appender, group, 1))
    assert stays.seqs == leaves.seqs == [1], "a new version holds messages back"
    await stays.until_seq(2)
    assert leaves.ended == "removed"
    assert leaves.seqs == [1]
    assert stays.ended is None
    session.stop()


async def test_a_removal_ends_the_subscriber_without_a_message(pool: Pool) -> None:
    group = await make_group(3)
    session = await open_session(pool, group)
    stays, leaves = await joined(pool, session, group, 0), await joined(pool, session, group, 1)
    server = await joined(pool, session, group, None)
    session.note_version((await remove(group, 1)).version)
    await leaves.until(lambda one: one.ended)
    assert (leaves.ended, stays.ended, server.ended) == ("removed", None, None)
    session.stop()


async def test_a_removal_that_no_publish_told_of_is_seen_by_a_repair(pool: Pool, appender: Appender) -> None:
    group = await make_group(3)
    session = await open_session(pool, group)
    leaves = await joined(pool, session, group, 1)
    await remove(group, 1)
    await write(appender, group, 2)
    await session.check()
    assert leaves.ended == "removed"
    assert leaves.seqs == []
    session.stop()


async def test_one_who_joins_with_an_old_view_is_looked_at_again(pool: Pool, appender: Appender) -> None:
    """It was a member when its view was read, and is none any more when it joins."""
    group = await make_group(3)
    session = await open_session(pool, group)
    old = await find_view(pool, group, group.people[1])
    version = (await remove(group, 1)).version
    session.note_version(version)
    await until(lambda: session.version == version)
    late = Recorder(group.people[1], session)
    session.add(late, old.version)
    await session.follow(late, session.last_seq)
    session.offer(version, await write(appender, group, 1))
    await late.until(lambda one: one.ended)
    assert late.seqs == []
    session.stop()


async def test_one_who_joins_while_members_are_being_looked_at_is_looked_at_too(
    pool: Pool, appender: Appender
) -> None:
    group = await make_group(3)
    session = await open_session(pool, group)
    stays = await joined(pool, session, group, 0)
    old = await find_view(pool, group, group.people[1])
    version = (await remove(group, 1)).version
    looking = asyncio.create_task(session.repair(last_seq=0, version=version))
    await asyncio.sleep(0)  # it has asked Postgres of those who follow now
    assert not looking.done()
    late = Recorder(group.people[1], session)
    session.add(late, old.version)
    await session.follow(late, session.last_seq)
    await looking
    session.offer(version, await write(appender, group, 1))
    await stays.until_seq(1)
    assert late.seqs == []
    assert late.ended == "removed"
    session.stop()


async def test_a_page_of_a_repair_waits_for_the_members_too(pool: Pool, appender: Appender) -> None:
    """Someone with an old view comes in while a repair is reading what was written after its removal."""
    group = await make_group(3)
    session = await open_session(pool, group)
    old = await find_view(pool, group, group.people[1])
    version = (await remove(group, 1)).version
    await write(appender, group, 5)
    late = Recorder(group.people[1], session)
    async with AsyncExitStack() as held:
        pages = await held.enter_async_context(holding("LOCK TABLE conversations_message"))
        repairing = asyncio.create_task(session.repair(last_seq=5, version=version))
        await waiting_for(pages)  # nobody followed: there was nobody to look at, and the page is on its way
        async with holding("LOCK TABLE conversations_membership") as looks:
            session.add(late, old.version)
            session.go_live(late)
            await waiting_for(looks)
            await held.aclose()
            await waiting_for(
                looks, 2
            )  # the page has come; before it is delivered the members are looked at again
            assert late.seqs == []
    await repairing
    assert (late.ended, late.seqs, session.last_seq) == ("removed", [], 5)
    session.stop()


async def test_one_with_an_old_view_is_shown_no_page_either(pool: Pool, appender: Appender) -> None:
    group = await make_group(3)
    session = await open_session(pool, group)
    old = await find_view(pool, group, group.people[1])
    version = (await remove(group, 1)).version
    session.offer(version, await write(appender, group, 1))
    await until(lambda: session.last_seq == 1)
    late = Recorder(group.people[1], session)
    session.add(late, old.version)
    await session.starting_point(0, str(session.epoch))
    assert late.ended == "removed"
    assert late not in session.subscribers
    session.stop()


async def test_a_broadcast_has_readers_who_are_no_members(pool: Pool, appender: Appender) -> None:
    group = await make_group(1, kind="broadcast")
    session = await open_session(pool, group)
    reader = Recorder(unique(), session)
    session.add(reader, 1)
    await session.follow(reader, 0)
    conversation = await in_thread(members.describe, group.key, title="News", metadata=None)
    session.offer(conversation.version, await _broadcast(appender, group))
    await reader.until_seq(1)
    assert reader.ended is None
    session.stop()


async def _broadcast(appender: Appender, group: Group) -> list[tuple[int, bytes]]:
    (one,) = await append(appender, group.request("all", privileged=True))
    return [(1, encode(one.message))]


async def test_a_conversation_made_again_under_its_key_ends_the_old_subscribers(pool: Pool) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)

    def make_again() -> Conversation:
        Conversation.objects.filter(id=group.id).delete()
        return members.create(group.key, "group", dict.fromkeys(group.people, "member"))

    again = await in_thread(make_again)
    assert again.epoch != session.epoch
    await session.check()
    assert recorder.ended == "deleted"
    assert not session.subscribers
    session.stop()


async def test_those_who_left_get_nothing_more(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    stays, leaves = await joined(pool, session, group, 0), await joined(pool, session, group, 1)
    session.remove(leaves)
    session.remove(leaves)
    session.offer(1, await write(appender, group, 1))
    assert (stays.seqs, leaves.seqs) == ([1], [])
    session.go_live(leaves)
    session.offer(1, await write(appender, group, 1))
    assert leaves.seqs == []
    session.stop()


async def test_events_that_are_not_of_the_log_are_passed_on(pool: Pool) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    session.event("read", {"participant_id": "x", "seq": 4})
    session.typing.set("x", True)
    assert recorder.frames == [
        ("read", {"participant_id": "x", "seq": 4}, None),
        ("typing", {"participant_id": "x", "on": True}, None),
    ]
    session.stop()


# What it holds is bounded.


class Slow(Recorder):
    """A subscriber that has room when it is told so."""

    def __init__(self, participant_id: str, session: Session) -> None:
        super().__init__(participant_id, session)
        self.bytes = 0
        self.asked = 0
        self._room = asyncio.Event()

    def frame(self, event: str, payload: bytes, seq: int | None) -> Any:
        self.bytes += len(payload)
        return super().frame(event, payload, seq)

    async def drained(self) -> None:
        self.asked += 1
        await self._room.wait()

    def make_room(self) -> None:
        self._room.set()


async def test_a_replay_to_one_who_does_not_read_holds_little(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    size = 20_000
    await append(appender, *[group.request("x" * size) for _ in range(60)])
    session = await open_session(pool, group)
    slow = Slow(group.people[0], session)
    session.add(slow, 1)
    following = asyncio.create_task(session.follow(slow, 0))
    await until(lambda: slow.asked)
    await asyncio.sleep(0.05)
    assert slow.bytes <= PORTION_BYTES + 2 * size
    held = [one for one in gc.get_objects() if type(one) is list and len(one) > 1 and _is_page(one, size)]
    assert held == [], "the rest of the page waits in memory"
    slow.make_room()
    await following
    assert slow.seqs == list(range(1, 61))
    session.stop()


def _is_page(one: list[Any], size: int) -> bool:
    return all(isinstance(entry, tuple) and len(entry) == 2 for entry in one) and all(
        isinstance(seq, int) and isinstance(payload, bytes) and len(payload) > size for seq, payload in one
    )


async def test_what_could_not_be_kept_ahead_comes_from_postgres(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    view = await find_view(pool, group)
    session = Session(pool, view, announce=lambda op, refs: None, room=Room(10))
    recorder = await joined(pool, session, group)
    entries = await write(appender, group, 4)
    session.offer(1, entries[2:])
    assert not session._ahead
    await recorder.until_seq(4)
    # What comes in its turn needs no room.
    session.offer(1, await write(appender, group, 1))
    assert recorder.seqs == [1, 2, 3, 4, 5]
    session.stop()


async def test_tails_of_a_process_share_their_memory(pool: Pool, appender: Appender) -> None:
    tails = TailMemory(2_000)
    sessions = []
    for _ in range(3):
        group = await make_group()
        session = Session(pool, await find_view(pool, group), announce=lambda op, refs: None, tails=tails)
        session.offer(1, await write(appender, group, 2))
        sessions.append((session, group))
    assert tails.bytes <= 2_000
    first, last = sessions[0][0], sessions[-1][0]
    assert first.tail.after(0) is None
    assert last.tail.after(0) is not None
    assert [seq for seq, _ in (await first.newest(10))[1]] == [1, 2]
    for session, _ in sessions:
        session.stop()
    assert tails.bytes == 0


async def test_a_session_that_has_stopped_is_freed_at_once(pool: Pool, appender: Appender) -> None:
    group = await make_group()
    session = await open_session(pool, group)
    recorder = await joined(pool, session, group)
    session.presence.join("r1", group.people[0], datetime.now(UTC))
    session.typing.set(group.people[0], True)
    session.offer(1, await write(appender, group, 1))
    session.remove(recorder)
    recorder.session = None
    session.stop()
    gone = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()
