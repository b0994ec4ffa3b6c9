"""Those who are here: who types, reads and comes; inboxes, groups and what else REST does."""

import asyncio

import pytest
from fleetlm_client import FleetLMError, Joined, PresenceEvent, ReadEvent, TypingEvent

from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.python_sdk.conftest import NewClient
from tests.e2e.python_sdk.watching import Watcher
from tests.e2e.rest import Api

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@TRANSPORTS
async def test_typing_reading_and_being_here(
    api: Api, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    await api.send(dm, bob, "hello")
    mine = client(alice, transport=transport).conversation(dm)
    async with Watcher(mine) as watcher:
        await watcher.seq(1)
        theirs = client(bob, url=api.web[1]).conversation(dm)
        async with Watcher(theirs) as other:
            await watcher.until(lambda: any(bob in event.present for event in watcher.of(PresenceEvent)))
            await theirs.typing()
            await theirs.typing()  # said once
            await watcher.until(lambda: watcher.of(TypingEvent))
            await theirs.typing(False)
            await watcher.until(lambda: len(watcher.of(TypingEvent)) == 2)
            assert watcher.of(TypingEvent) == [TypingEvent(bob, True), TypingEvent(bob, False)]
            await mine.typing()
            await other.until(lambda: TypingEvent(alice, True) in other.of(TypingEvent))
            assert await mine.read() == 1
            assert await mine.read(0) == 1
            await other.until(lambda: ReadEvent(alice, 1) in other.of(ReadEvent))
        await watcher.until(lambda: any(bob in event.left for event in watcher.of(PresenceEvent)))
        assert not [event for event in watcher.of(TypingEvent) if event.participant_id == alice]
    async with Watcher(client(bob).conversation(dm)) as again:
        await again.joined()
    reads = {member.id: member.last_read_seq for member in again.of(Joined)[0].members}
    assert reads == {alice: 1, bob: 1}


async def test_an_inbox_is_followed_over_losses(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str, fresh: str
) -> None:
    await api.send(dm, bob, f"hello @{alice}")
    fleet = client(alice)
    (entry,) = await fleet.inbox()
    assert (entry.key, entry.unread_count, entry.mention_count) == (dm, 1, 1)
    assert entry.last_message is not None
    assert (entry.last_message.text, entry.raw["unread_count"]) == (f"hello @{alice}", 1)

    inbox, second = fleet.follow_inbox(), fleet.follow_inbox()
    first = await anext(inbox)
    assert (list(first.entries), list(first.removed)) == ([entry], [])
    assert await anext(second) == first
    await second.aclose()
    await fleet.conversation(dm).read()
    changes = [await anext(inbox)]
    assert changes[0].entries[0].unread_count == 0
    network.half_open()
    await api.send(dm, bob, "while away")
    await api.group(f"group-{fresh}", alice, bob)
    found = {}
    while set(found) != {dm, f"group-{fresh}"}:
        found |= {one.key: one for one in (await anext(inbox)).entries}
    assert (found[dm].unread_count, found[dm].last_message.text) == (1, "while away")
    await api.call("DELETE", f"conversations/group-{fresh}/participants/{alice}")
    while not (change := await anext(inbox)).removed:
        pass
    assert change.removed == (f"group-{fresh}",)
    await inbox.aclose()


async def test_groups(client: NewClient, alice: str, bob: str, fresh: str) -> None:
    fleet = client(alice)
    made = await fleet.create_conversation(
        f"group-{fresh}", participants=[{"id": alice, "role": "admin"}, bob], title="Ours", metadata={"a": 1}
    )
    assert (made.key, made.kind, made.title, made.metadata, made.last_seq) == (
        f"group-{fresh}", "group", "Ours", {"a": 1}, 0,
    )  # fmt: skip
    with pytest.raises(FleetLMError) as taken:
        await fleet.create_conversation(f"group-{fresh}")
    assert (taken.value.code, taken.value.status) == ("conflict", 409)
    group = fleet.conversation(f"group-{fresh}")
    assert fleet.conversation(f"group-{fresh}") is group
    assert [one.id for one in (await group.remove_participant(bob)).participants] == [alice]
    assert {one.id for one in (await group.add_participants([bob])).participants} == {alice, bob}
    assert (await group.update(title="Theirs")).title == "Theirs"
    assert (await group.handoff(bob)).handed_to == bob
    assert (await group.handoff(None)).handed_to is None
    assert (await group.set_state("closed")).state == "closed"
    with pytest.raises(FleetLMError) as closed:
        await group.send("no")
    assert closed.value.code == "conversation_closed"
    assert (await group.set_state("open")).state == "open"
    assert (await group.info()).metadata == {"a": 1}
    found = await fleet.conversations(kind="group")
    assert [one.key for one in found.conversations] == [group.key]
    assert found.next is None


async def test_history_and_search(api: Api, client: NewClient, alice: str, bob: str, dm: str) -> None:
    for number in range(1, 8):
        await api.send(dm, bob, f"apple {number}")
    conversation = client(alice).conversation(dm)
    newest = await conversation.history(limit=2)
    assert ([message.seq for message in newest.messages], newest.has_more, newest.last_seq) == (
        [6, 7],
        True,
        7,
    )
    older = await conversation.history(before=3)
    assert ([message.seq for message in older.messages], older.has_more) == ([1, 2], False)
    later = await conversation.history(after=5)
    assert [message.seq for message in later.messages] == [6, 7]
    found = await client(alice).search("apple 4")
    assert ([message.text for message in found.messages], found.cursor) == (["apple 4"], None)
    assert (await client(alice).search("apple", key=dm, limit=3)).cursor is not None


async def test_any_call(client: NewClient, alice: str, fresh: str) -> None:
    fleet = client(alice)
    assert "agents" in await fleet.request("GET", "agents")
    assert (await fleet.request("GET", "/health"))["status"] == "ok"
    assert "fleetlm" in await fleet.request("GET", "/metrics")
    with pytest.raises(FleetLMError) as missing:
        await fleet.request("GET", f"agents/none-{fresh}")
    assert missing.value.status == 404
    assert missing.value.as_dict()["error"]["code"] == missing.value.code
    made = await asyncio.gather(
        *(
            fleet.request(
                "POST",
                f"conversations/{alice}%3Abob/messages",
                body={"sender_id": alice, "text": "x"},
                idempotency_key="the-same",
            )
            for _ in range(3)
        )
    )
    assert {one["seq"] for one in made} == {1}
