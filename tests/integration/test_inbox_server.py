"""Live inboxes: few ticks for many changes, nothing that takes a client back, and nothing lost for good."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pytest_django import Settings

from conversations.models import Conversation
from inbox import store as inbox_store
from runtime import members
from runtime.appender import Appender
from runtime.core import Runtime
from runtime.database import in_thread
from runtime.inbox_server import DIRECT_MEMBERS
from tests.integration.live import (
    PATIENCE,
    Group,
    Recorder,
    append,
    break_connections,
    find_view,
    make_group,
    running_runtime,
    unique,
    until,
)

TICK = 0.03


@pytest.fixture
def quick(settings: Settings) -> None:
    """Ticks and repairs come sooner than they do in earnest."""
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"inbox_tick": TICK, "repair_interval": 0.1})


@pytest.fixture
async def here(quick: None) -> AsyncIterator[Runtime]:
    async with running_runtime() as runtime:
        yield runtime


class Inbox(Recorder):
    """What a client makes of a snapshot and its ticks: entries by key."""

    def __init__(self, runtime: Runtime, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner
        self.entries: dict[str, dict[str, Any]] = {}
        self.ticks: list[dict[str, Any]] = []
        self._inboxes = runtime.inboxes

    async def join(self) -> "Inbox":
        snapshot = orjson.loads(await self._inboxes.join(self.owner, self))
        assert not self.ticks, "a tick came before its snapshot"
        self.entries = {entry["key"]: entry for entry in snapshot}
        self._inboxes.ready(self.owner, self)
        return self

    def write(self, frame: Any) -> None:
        event, tick, seq = frame
        assert (event, seq) == ("tick", None)
        self.ticks.append(tick)
        for entry in tick["updates"]:
            before = self.entries.get(entry["key"])
            assert before is None or newer(entry, before), f"taken back from {before} to {entry}"
            self.entries[entry["key"]] = entry
        for key in tick.get("removed", ()):
            self.entries.pop(key, None)
        super().write(frame)

    def leave(self) -> None:
        self._inboxes.leave(self.owner, self)

    async def until_entry(self, group: Group, **fields: Any) -> dict[str, Any]:
        """The entry of this conversation, as soon as it says this."""
        await self.until(lambda _: fields.items() <= self.entries.get(group.key, {}).items())
        return self.entries[group.key]


def last_seq(entry: dict[str, Any]) -> int:
    return entry["last_message"]["seq"] if entry["last_message"] else 0


def newer(entry: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether an entry shows no less than one before it did."""
    return last_seq(entry) >= last_seq(before) and entry["last_read_seq"] >= before["last_read_seq"]


async def followed(runtime: Runtime, inbox: Inbox, group: Group, other: Runtime) -> None:
    """Return when hints of the other process arrive: it hints until a tick comes."""
    before = len(inbox.ticks)
    async with asyncio.timeout(PATIENCE):
        while len(inbox.ticks) == before:
            other.inboxes.changed(group.id, [inbox.owner])
            await asyncio.sleep(TICK)
    await asyncio.sleep(3 * TICK)  # what is on its way, so that the next tick is the next change's


async def test_a_snapshot_shows_what_is_unread(here: Runtime) -> None:
    group = await make_group()
    await here.gateway.append(group.request(f"hi @{group.people[1]}"))
    inbox = await Inbox(here, group.people[1]).join()
    (entry,) = inbox.entries.values()
    assert entry | {"updated_at": None} == {
        "key": group.key,
        "dm_key": None,
        "kind": "group",
        "title": "",
        "state": "open",
        "participants": list(group.people),
        "last_message": entry["last_message"],
        "unread_count": 1,
        "mention_count": 1,
        "last_read_seq": 0,
        "muted": False,
        "updated_at": None,
    }
    assert entry["last_message"]["text"] == f"hi @{group.people[1]}"
    mine = await Inbox(here, group.people[0]).join()
    assert mine.entries[group.key]["unread_count"] == 0
    assert mine.entries[group.key]["last_read_seq"] == 1


async def test_many_changes_are_few_ticks(here: Runtime) -> None:
    both = [await make_group() for _ in range(2)]
    owner = both[0].people[1]
    await in_thread(members.add, both[1].key, {owner: "member"})
    inbox = await Inbox(here, owner).join()
    other = await Inbox(here, owner).join()
    for number in range(10):
        await asyncio.gather(*[here.gateway.append(group.request(str(number))) for group in both])
    await inbox.until_entry(both[0], unread_count=10)
    await inbox.until_entry(both[1], unread_count=10)
    assert len(inbox.ticks) <= 6, "twenty messages within a few ticks"
    await other.until_entry(both[1], unread_count=10)
    assert inbox.ticks == other.ticks


async def test_a_tick_is_for_members_only(here: Runtime) -> None:
    group, other = await make_group(), await make_group()
    stranger = await Inbox(here, other.people[0]).join()
    inbox = await Inbox(here, group.people[1]).join()
    await here.gateway.append(group.request())
    await inbox.until_entry(group, unread_count=1)
    assert stranger.ticks == []
    assert set(inbox.entries) == {group.key}


async def test_reading_is_ticked_in_every_process(here: Runtime, there: Runtime) -> None:
    group = await make_group()
    inbox = await Inbox(here, group.people[1]).join()
    await followed(here, inbox, group, there)
    await there.gateway.append(group.request("one"))
    await there.gateway.append(group.request("two"))
    await inbox.until_entry(group, unread_count=2)
    view = await find_view(there.pool, group, group.people[1])
    assert await there.gateway.read(view, group.people[1], 1) == 1
    await inbox.until_entry(group, unread_count=1, last_read_seq=1)
    assert await there.gateway.read(view, group.people[1], 0) == 1
    assert await there.gateway.read(view, group.people[1], 99) == 2
    await inbox.until_entry(group, unread_count=0, last_read_seq=2)


async def test_one_who_left_gets_no_more_ticks(here: Runtime) -> None:
    group = await make_group()
    stays, leaves = await Inbox(here, group.people[1]).join(), await Inbox(here, group.people[1]).join()
    leaves.leave()
    leaves.leave()
    await here.gateway.append(group.request())
    await stays.until_entry(group, unread_count=1)
    assert leaves.ticks == []


async def test_a_tick_before_its_snapshot_was_written_waits_for_it(here: Runtime) -> None:
    group = await make_group()
    inbox = Inbox(here, group.people[1])
    watcher = await Inbox(here, group.people[1]).join()
    snapshot = orjson.loads(await here.inboxes.join(inbox.owner, inbox))
    await here.gateway.append(group.request())
    await watcher.until_entry(group, unread_count=1)
    assert inbox.ticks == []
    inbox.entries = {entry["key"]: entry for entry in snapshot}
    here.inboxes.ready(inbox.owner, inbox)
    await inbox.until_entry(group, unread_count=1)


@examples(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.integers(0, 4), min_size=10, max_size=10))
async def test_joins_among_changes_never_see_anything_older_than_they_saw(
    here: Runtime, pauses: list[int]
) -> None:
    """Neither does a tick take a client back, nor is a snapshot older than a tick that another one had before it."""
    group = await make_group()
    owner = group.people[1]
    first = await Inbox(here, owner).join()
    joined = [first]
    view = await find_view(here.pool, group, owner)

    async def talk() -> None:
        for number in range(30):
            appended = await here.gateway.append(group.request(str(number)))
            if number % 4 == 0:
                await here.gateway.read(view, owner, appended.message.seq - 1)

    async def keep_joining() -> None:
        for pause in pauses:
            await asyncio.sleep(pause * TICK / 4)
            seen = [one.entries[group.key] for one in joined]
            anew = await Inbox(here, owner).join()
            assert all(newer(anew.entries[group.key], entry) for entry in seen)
            joined.append(anew)

    await asyncio.gather(talk(), keep_joining(), keep_joining())
    for inbox in joined:
        await inbox.until(lambda one: last_seq(one.entries[group.key]) == 30)  # type: ignore[attr-defined]
        entry = await inbox.until_entry(group, last_read_seq=28)
        assert entry["unread_count"] == 2
        inbox.leave()


async def test_a_lost_hint_is_repaired(here: Runtime, silent: Appender) -> None:
    group = await make_group()
    inbox = await Inbox(here, group.people[1]).join()
    await append(silent, group.request("nobody told you"))
    await asyncio.wait_for(inbox.until_entry(group, unread_count=1), 3)
    # What was repaired or hinted is not ticked again and again.
    await here.gateway.append(group.request("hinted"))
    await inbox.until_entry(group, unread_count=2)
    ticks = len(inbox.ticks)
    await append(silent, group.request("lost again"))
    await inbox.until_entry(group, unread_count=3)
    await asyncio.sleep(0.35)  # three more repairs, which find nothing
    assert len(inbox.ticks) == ticks + 1


async def test_ticks_and_repairs_outlive_an_outage_of_postgres(here: Runtime, silent: Appender) -> None:
    group = await make_group()
    inbox = await Inbox(here, group.people[1]).join()
    await break_connections(here.pool)
    here.inboxes.changed(group.id, group.people)
    await append(silent, group.request())
    await inbox.until_entry(group, unread_count=1)


async def test_a_large_conversation_ticks_here_and_elsewhere(here: Runtime, there: Runtime) -> None:
    """One hint for all of its members, whatever their number."""
    group = await make_group(DIRECT_MEMBERS + 1)
    bystander = await Inbox(here, unique()).join()
    local, remote = await Inbox(there, group.people[1]).join(), await Inbox(here, group.people[2]).join()
    await followed(here, remote, group, there)
    await there.gateway.append(group.request("to all"))
    await asyncio.gather(*[one.until_entry(group, unread_count=1) for one in (local, remote)])
    assert len(remote.entries[group.key]["participants"]) == 50
    assert bystander.ticks == []


async def test_after_an_outage_of_valkey_every_open_inbox_is_looked_at_again(
    here: Runtime, silent: Appender
) -> None:
    """A read moves no message, so that no repair finds it: only a look at everything does."""
    group = await make_group()
    owner = group.people[1]
    await append(silent, group.request())
    inbox = await Inbox(here, owner).join()
    assert inbox.entries[group.key]["unread_count"] == 1
    async with here.pool.connection() as connection:
        await connection.run(inbox_store.move_cursor(owner, group.id, 1))
    here.inboxes.refresh_all()
    await inbox.until_entry(group, unread_count=0)


async def test_a_new_conversation_appears(here: Runtime, there: Runtime) -> None:
    group = await make_group()
    owner = group.people[0]
    inbox = await Inbox(here, owner).join()
    await followed(here, inbox, group, there)
    conversation = await in_thread(
        members.create, unique("c"), "group", {owner: "admin", group.people[1]: "member"}, title="New"
    )
    there.gateway.announce_change(conversation, [owner, group.people[1]])
    await inbox.until(lambda _: conversation.key in inbox.entries)
    assert inbox.entries[conversation.key]["title"] == "New"


# What is in the inbox no more.


async def test_one_who_was_removed_is_told_that_the_conversation_is_gone(
    here: Runtime, there: Runtime
) -> None:
    group = await make_group(3)
    gone, stays = await Inbox(here, group.people[1]).join(), await Inbox(here, group.people[2]).join()
    await followed(here, gone, group, there)
    await followed(here, stays, group, there)
    conversation = await in_thread(members.remove, group.key, gone.owner)
    there.gateway.announce_change(conversation, [group.people[0], stays.owner], gone=[gone.owner])
    await gone.until(lambda _: group.key not in gone.entries)
    assert gone.ticks[-1]["removed"] == [group.key]
    await stays.until(lambda _: len(stays.entries[group.key]["participants"]) == 2)
    seen = len(gone.ticks)
    await there.gateway.append(group.request("without you"))
    await stays.until_entry(group, unread_count=1)
    assert not [tick for tick in gone.ticks[seen:] if tick["updates"]]
    assert orjson.loads(await here.inboxes.snapshot(gone.owner)) == []


async def test_an_archived_conversation_leaves_the_inbox_and_comes_back(here: Runtime) -> None:
    group = await make_group()
    inbox = await Inbox(here, group.people[1]).join()
    for state in ("archived", "open"):
        conversation = await in_thread(members.set_state, group.key, state)
        here.gateway.announce_change(conversation, group.people)
        await inbox.until(lambda _, gone=state == "archived": (group.key not in inbox.entries) is gone)
        assert (inbox.ticks[-1]["removed"] == [group.key]) is (state == "archived")


async def test_an_archived_large_conversation_leaves_the_inbox_too(here: Runtime) -> None:
    group = await make_group(DIRECT_MEMBERS + 1)
    inbox = await Inbox(here, group.people[1]).join()
    conversation = await in_thread(members.set_state, group.key, "archived")
    here.gateway.announce_change(conversation, group.people)
    await inbox.until(lambda _: group.key not in inbox.entries)


async def test_one_removed_from_a_large_conversation_is_told_too(here: Runtime, there: Runtime) -> None:
    group = await make_group(DIRECT_MEMBERS + 2)
    inbox = await Inbox(here, group.people[1]).join()
    await followed(here, inbox, group, there)
    conversation = await in_thread(members.remove, group.key, inbox.owner)
    rest = [one for one in group.people if one != inbox.owner]
    there.gateway.announce_change(conversation, rest, gone=[inbox.owner])
    await inbox.until(lambda _: group.key not in inbox.entries)


@sync_to_async
def _delete(conversation_id: int) -> None:
    Conversation.objects.filter(id=conversation_id).delete()


async def test_a_conversation_that_is_gone_altogether_stops_no_tick(here: Runtime) -> None:
    group, other = await make_group(), await make_group()
    owner = group.people[1]
    await in_thread(members.add, other.key, {owner: "member"})
    inbox = await Inbox(here, owner).join()
    await _delete(group.id)
    here.inboxes.changed(group.id, [owner])
    await here.gateway.append(other.request())
    await inbox.until_entry(other, unread_count=1)


# What waits is bounded.


async def test_beyond_the_entries_that_may_wait_whole_inboxes_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, here: Runtime
) -> None:
    monkeypatch.setattr("runtime.inbox_server.DIRTY_LIMIT", 3)
    monkeypatch.setattr("runtime.inbox_server.FLUSH_ENTRIES", 2)
    owners = [unique(), unique()]
    groups = [await make_group([unique(), *owners]) for _ in range(8)]
    inboxes = [await Inbox(here, owner).join() for owner in owners]
    most = 0
    for group in groups:
        appended = await here.gateway.append(group.request())
        assert appended.message.seq == 1
        most = max(most, len(here.inboxes._dirty))
    for group in groups:
        here.inboxes.changed(group.id, owners, 1)  # all of them at once, before a tick can go out
    assert most <= len(here.inboxes._dirty) == 3
    assert here.inboxes._stale == set(owners)
    for inbox in inboxes:
        for group in groups:
            await inbox.until_entry(group, unread_count=1)
    await until(lambda: not here.inboxes._dirty and not here.inboxes._stale)


async def test_whole_inboxes_wait_for_postgres_too(monkeypatch: pytest.MonkeyPatch, here: Runtime) -> None:
    group = await make_group()
    inbox = await Inbox(here, group.people[1]).join()
    await here.gateway.append(group.request())
    await inbox.until_entry(group, unread_count=1)
    ticks = len(inbox.ticks)
    await break_connections(here.pool)
    here.inboxes.refresh_all()
    await inbox.until(lambda _: len(inbox.ticks) > ticks)
    assert inbox.entries[group.key]["unread_count"] == 1


async def test_hints_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch, here: Runtime) -> None:
    monkeypatch.setattr("runtime.inbox_server.HINTS_KEPT", 10)
    group = await make_group()
    for number in range(50):
        here.inboxes.changed(-number, [group.people[1]], 1)
    assert not here.inboxes._hinted, "nobody's inbox is open"
    await Inbox(here, group.people[1]).join()
    for number in range(50):
        here.inboxes.changed(-number, [group.people[1]], 1)
        assert len(here.inboxes._hinted) <= 10


async def test_hints_of_many_messages_are_few_frames(here: Runtime, there: Runtime) -> None:
    """They would otherwise be two for each message of a dm."""
    inbox = await Inbox(here, unique()).join()
    groups = [await make_group([inbox.owner, unique()]) for _ in range(10)]
    await followed(here, inbox, groups[0], there)
    sent = _frames_sent()
    for number in range(20):
        for group in groups:
            there.inboxes.changed(group.id, group.people, number)
    await inbox.until(lambda _: len(inbox.entries) == len(groups))
    assert _frames_sent() - sent < 20


def _frames_sent() -> float:
    return REGISTRY.get_sample_value("fleetlm_publishes_total", {"outcome": "sent"}) or 0.0
