"""Two processes that follow one conversation: what a publish brings, what a lost one costs, and when a session ends."""

import asyncio
from datetime import UTC, datetime

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from conversations.models import Conversation
from runtime import members
from runtime.appender import Appender
from runtime.core import Runtime
from runtime.database import in_thread
from runtime.pages import encode
from runtime.session import Session
from runtime.sessions import group_of
from tests.integration.live import (
    PATIENCE,
    Group,
    Recorder,
    append,
    break_connections,
    find_view,
    make_group,
    running_runtime,
    silent_appender,
    until,
)


async def joined(runtime: Runtime, group: Group, who: int = 0, after: int | None = None) -> Recorder:
    """A live subscriber in this process."""
    view = await find_view(runtime.pool, group, group.people[who])
    session = runtime.sessions.open(view)
    recorder = Recorder(group.people[who], session)
    session.add(recorder, view.version)
    start, _ = await session.starting_point(after, None)
    await session.follow(recorder, start)
    return recorder


async def followed(runtime: Runtime, group: Group) -> Session:
    """The session, once this process hears what others publish: a frame of another one has come."""
    session = runtime.sessions.get(group.id)
    assert session is not None
    recorder = Recorder(None, session)
    session.add(recorder, session.version)
    session.go_live(recorder)
    probe = {"type": "event", "event": "probe", "payload": 1, "process": "probe", "conversation": group.id}
    async with asyncio.timeout(PATIENCE):
        while not recorder.payloads("probe"):
            await get_channel_layer().group_send_many([(group_of(group.id), probe)])
            await asyncio.sleep(0.01)
    session.remove(recorder)
    return session


async def test_what_one_process_commits_the_other_delivers(here: Runtime, there: Runtime) -> None:
    group = await make_group()
    recorder = await joined(here, group)
    await followed(here, group)
    await asyncio.gather(*[there.gateway.append(group.request(str(n), 1)) for n in range(20)])
    await recorder.until_seq(20)
    other = await joined(there, group, 1)
    await followed(there, group)
    await asyncio.gather(
        *[here.gateway.append(group.request(str(n))) for n in range(10)],
        *[there.gateway.append(group.request(str(n), 1)) for n in range(10)],
    )
    await asyncio.gather(recorder.until_seq(40), other.until_seq(40))
    assert len(recorder.seqs) == 40
    assert recorder.payloads("message")[20:] == other.payloads("message")


async def test_a_lost_publish_is_repaired_with_one_look_at_postgres(here: Runtime, silent: Appender) -> None:
    groups = [await make_group() for _ in range(3)]
    recorders = [await joined(here, group) for group in groups]
    for group in groups:
        await followed(here, group)
    await append(silent, groups[0].request("one"), groups[0].request("two"), groups[1].request("three"))
    await here.sessions.repair([group.id for group in groups])
    assert [recorder.seqs for recorder in recorders] == [[1, 2], [1], []]
    # A second loss, now that the tail holds something.
    await append(silent, groups[0].request("four"))
    await here.sessions.repair([group.id for group in groups])
    assert recorders[0].seqs == [1, 2, 3]


async def test_a_lost_publish_reaches_its_subscriber_by_itself(here: Runtime, silent: Appender) -> None:
    group = await make_group()
    recorder = await joined(here, group)
    await followed(here, group)
    await here.gateway.append(group.request("heard"))
    assert recorder.seqs == [1]
    await append(silent, group.request("lost"))
    assert recorder.seqs == [1]
    await asyncio.wait_for(recorder.until_seq(2), 3.0)


async def test_the_repair_outlives_an_outage_of_postgres(settings: Settings) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"repair_interval": 0.05})
    async with running_runtime() as here, silent_appender() as silent:
        group = await make_group()
        recorder = await joined(here, group)
        await followed(here, group)
        await break_connections(here.pool)
        await append(silent, group.request("lost"))
        await recorder.until_seq(1)


async def test_what_is_written_between_the_view_and_the_first_publish_heard_is_not_missed(
    here: Runtime, silent: Appender
) -> None:
    group = await make_group()
    view = await find_view(here.pool, group)
    await append(silent, group.request("in between"))
    session = here.sessions.open(view)
    recorder = Recorder(None, session)
    session.add(recorder, view.version)
    await session.follow(recorder, view.last_seq)
    assert recorder.seqs == []
    await asyncio.wait_for(
        recorder.until_seq(1), 1.5
    )  # by the check once the group is followed, not by the repair


async def test_a_member_removed_by_another_process_hears_nothing_more(here: Runtime, there: Runtime) -> None:
    group = await make_group(3)
    stays, leaves = await joined(here, group, 0), await joined(here, group, 1)
    await followed(here, group)
    conversation = await in_thread(members.remove, group.key, group.people[1])
    # Nobody has announced the removal yet: the message itself tells of it.
    await there.gateway.append(group.request("without you"))
    await stays.until_seq(1)
    assert leaves.ended == "removed"
    assert leaves.seqs == []
    there.gateway.announce_change(conversation, group.people)
    assert stays.ended is None


async def test_a_removal_whose_announcement_was_lost_is_seen_by_the_repair(here: Runtime) -> None:
    group = await make_group(3)
    stays, leaves = await joined(here, group, 0), await joined(here, group, 1)
    await followed(here, group)
    await in_thread(members.remove, group.key, group.people[1])
    await here.sessions.repair([group.id])
    assert (stays.ended, leaves.ended) == (None, "removed")


async def test_a_conversation_made_again_under_its_key_is_another_one(here: Runtime) -> None:
    group = await make_group()
    recorder = await joined(here, group)

    def make_again() -> Conversation:
        Conversation.objects.filter(id=group.id).delete()
        return members.create(group.key, "group", dict.fromkeys(group.people, "member"))

    again = await in_thread(make_again)
    anew = Group(again.id, again.key, group.people)
    fresh = await joined(here, anew)
    await here.gateway.append(anew.request("a new log"))
    await here.sessions.repair([group.id, again.id])
    assert recorder.ended == "deleted"
    assert recorder.seqs == []
    assert fresh.seqs == [1]
    assert fresh.ended is None


async def test_an_idle_session_is_retired_and_a_followed_one_is_not(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("runtime.sessions.IDLE_SECONDS", 0.1)
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"repair_interval": 0.02})
    async with running_runtime() as here:
        idle, busy = await make_group(), await make_group()
        gone, stays = await joined(here, idle), await joined(here, busy)
        await followed(here, idle)
        session = here.sessions.get(idle.id)
        assert session is not None
        session.remove(gone)
        await until(lambda: here.sessions.get(idle.id) is None)
        assert here.sessions.get(busy.id) is not None
        await here.gateway.append(busy.request("still here"))
        assert stays.seqs == [1]
        # One who comes back finds everything, and what others publish is followed again.
        await here.gateway.append(idle.request("while nobody looked"))
        back = await joined(here, idle, after=0)
        assert back.seqs == [1]
        await followed(here, idle)


async def test_one_who_comes_back_keeps_the_session_warm(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("runtime.sessions.IDLE_SECONDS", 0.15)
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"repair_interval": 0.02})
    async with running_runtime() as here:
        group, other = await make_group(), await make_group()
        session = (await joined(here, group)).session
        assert session is not None
        for subscriber in list(session.subscribers):
            session.remove(subscriber)
        watched = await joined(here, other)
        watched.session.remove(watched)  # type: ignore[union-attr]
        again = await joined(here, group)
        await until(lambda: here.sessions.get(other.id) is None)
        assert here.sessions.get(group.id) is session is again.session


async def test_presence_is_told_between_processes(here: Runtime, there: Runtime) -> None:
    group = await make_group()
    one, other = await joined(here, group), await joined(there, group, 1)
    mine, theirs = await followed(here, group), await followed(there, group)
    now = datetime.now(UTC)
    mine.presence.join("a.1", group.people[0], now)
    theirs.presence.join("b.1", group.people[1], now)
    await one.until(lambda _: set(mine.presence.state()) == set(group.people))
    await other.until(lambda _: set(theirs.presence.state()) == set(group.people))
    await there.sessions.stop()
    await one.until(lambda _: set(mine.presence.state()) == {group.people[0]})
    assert group.people[1] in one.payloads("presence_diff")[-1]["leaves"]


async def test_typing_and_reads_are_told_between_processes(here: Runtime, there: Runtime) -> None:
    group = await make_group()
    recorder, local = await joined(here, group), await joined(there, group, 1)
    await followed(here, group)
    there.gateway.typing(group.id, group.people[1], True)
    await there.gateway.append(group.request("read me", 1))
    view = await find_view(there.pool, group, group.people[1])
    assert await there.gateway.read(view, group.people[1], 99) == 1
    await recorder.until(lambda one: one.payloads("read"))
    for one in (recorder, local):
        assert one.payloads("typing") == [{"participant_id": group.people[1], "on": True}]
        assert one.payloads("read") == [{"participant_id": group.people[1], "seq": 1}]
        assert one.seqs == [1]


async def test_a_frame_for_a_conversation_that_nobody_follows_is_no_fault(here: Runtime) -> None:
    group = await make_group()
    frame = {"type": "log", "version": 1, "entries": [], "conversation": group.id, "process": "another"}
    here.sessions.receive(frame)
    assert here.sessions.get(group.id) is None
    appended = await here.gateway.append(group.request())
    assert encode(appended.message)


async def test_no_more_idle_sessions_are_kept_than_allowed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("runtime.sessions.IDLE_LIMIT", 2)
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"repair_interval": 0.02})
    async with running_runtime() as here:
        groups = [await make_group() for _ in range(4)]
        busy = await joined(here, groups[0])
        for group in groups[1:]:
            recorder = await joined(here, group)
            assert recorder.session is not None
            recorder.session.remove(recorder)
        await until(lambda: here.sessions.get(groups[1].id) is None)
        assert [here.sessions.get(group.id) is not None for group in groups] == [True, False, True, True]
        await here.gateway.append(groups[0].request())
        assert busy.seqs == [1]


async def test_many_that_are_behind_are_brought_on_together(here: Runtime, silent: Appender) -> None:
    groups = [await make_group() for _ in range(12)]
    recorders = [await joined(here, group) for group in groups]
    await append(silent, *[group.request(str(n)) for group in groups for n in range(3)])
    await here.sessions.repair([group.id for group in groups])
    assert [recorder.seqs for recorder in recorders] == [[1, 2, 3]] * 12
