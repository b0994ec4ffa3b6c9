"""Conversations over the socket, through the official Phoenix client, across two web processes."""

import asyncio
import time
from uuid import uuid4

import pytest

from tests.e2e.phoenix import Channel, Phoenix, PushFailed
from tests.e2e.raw_socket import Sleeper, raw_socket
from tests.e2e.rest import Api, Refused
from tests.e2e.stack import Stack
from tests.e2e.talk import talk

MISSED = 500


@pytest.mark.parametrize("vsn", ["2.0.0", "1.0.0"])
async def test_a_message_reaches_the_other_process(
    stack: Stack, phoenix: Phoenix, fresh: str, vsn: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{bob}:{alice}"
    here = await (await phoenix.connect(stack.web[0], participant_id=alice, vsn=vsn)).join(topic)
    there = await (await phoenix.connect(stack.web[1], participant_id=bob, vsn=vsn)).join(topic)

    acknowledged = await here.send("hello", client_id="one")
    message = await there.seq(1)

    assert acknowledged == {
        "id": message["id"],
        "seq": 1,
        "created_at": message["created_at"],
        "deduplicated": False,
    }
    assert (message["sender_id"], message["text"], message["client_id"]) == (alice, "hello", "one")
    assert message["dm_key"] == f"{alice}:{bob}"
    assert (await there.push("history", {"before": 2, "limit": 10})) == {
        "messages": [message],
        "has_more": False,
    }


async def test_a_retry_with_the_same_client_id_is_stored_once_whichever_process_gets_it(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, key = f"alice-{fresh}", f"alice-{fresh}:bob-{fresh}"
    channels = [
        await (await phoenix.connect(url, participant_id=alice)).join(f"conversation:{key}")
        for url in stack.web
    ]

    answers = await asyncio.gather(
        *(channel.send("once", client_id="same") for channel in channels for _ in range(5))
    )

    assert {answer["seq"] for answer in answers} == {1}
    assert sorted(answer["deduplicated"] for answer in answers) == [False] + [True] * 9
    assert [message["text"] for message in await api.log(key)] == ["once"]


@pytest.mark.parametrize("back_at", [0, 1])
async def test_a_client_that_was_away_sees_every_seq_once_in_order_though_others_go_on(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str, back_at: int
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    socket = await phoenix.connect(stack.web[1], participant_id=bob)
    channel = await socket.join(f"conversation:{key}", limit=20)
    await api.send(key, alice, "before", web=0)
    await channel.seq(1)

    await socket.drop()
    await talk(api, key, alice, MISSED)
    meanwhile = asyncio.create_task(talk(api, key, alice, MISSED))
    await socket.reconnect(stack.web[back_at])
    await meanwhile
    last = await api.send(key, alice, "last", web=1 - back_at)

    await channel.seq(last["seq"])
    assert channel.seqs == list(range(1, 2 * MISSED + 3))
    rejoined = channel.joins[-1]
    assert rejoined["recovered"] is True
    assert len(rejoined["messages"]) == 20
    assert rejoined["last_seq"] > MISSED
    assert [message["id"] for message in channel.log] == [message["id"] for message in await api.log(key)]


async def test_a_log_of_large_messages_comes_whole_over_a_slow_line(
    stack: Stack, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic, large = f"conversation:{alice}:{bob}", 240
    for _ in range(large // 20):
        await asyncio.gather(*(api.send(f"{alice}:{bob}", alice, "x" * 32_000) for _ in range(20)))

    for params in ({"limit": 200}, {"after": 0, "limit": 200}):
        line = Sleeper(stack.web[1], bob)
        try:
            line.send(["1", "1", topic, "phx_join", params])
            seqs: list[int] = []
            while not seqs or seqs[-1] < large:
                frame = await asyncio.to_thread(line.frame)
                assert isinstance(frame, list), f"cut off after {seqs}: {frame}"
                if frame[3] == "phx_reply":
                    seqs += [message["seq"] for message in frame[4]["response"]["messages"]]
                elif frame[3] == "message":
                    seqs.append(frame[4]["seq"])
            assert seqs == list(range(seqs[0], large + 1))
            assert seqs[0] == 1 or "after" not in params
            line.send(["1", "2", topic, "history", {"before": large, "limit": 200}])
            while (answer := await asyncio.to_thread(line.frame)) is not None and answer[1] != "2":
                pass
            older = [message["seq"] for message in answer[4]["response"]["messages"]]
            assert older == list(range(older[0], large))
            assert answer[4]["response"]["has_more"] is True
        finally:
            line.close()


async def test_a_place_that_this_log_does_not_know_starts_anew(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    for number in range(3):
        await api.send(key, alice, str(number))
    socket = await phoenix.connect(stack.web[1], participant_id=alice)
    topic = f"conversation:{key}"

    future = (await socket.join(topic, after=4)).joins[0]
    other = (await socket.join(topic, after=1, epoch=str(uuid4()))).joins[0]
    known = (await socket.join(topic, after=1, epoch=other["epoch"])).joins[0]

    assert (future["recovered"], [one["seq"] for one in future["messages"]]) == (False, [1, 2, 3])
    assert (other["recovered"], [one["seq"] for one in other["messages"]]) == (False, [1, 2, 3])
    assert (known["recovered"], [one["seq"] for one in known["messages"]]) == (True, [2, 3])


async def test_a_second_join_replaces_the_first(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    topic = f"conversation:{key}"
    async with raw_socket(stack.web[0], participant_id=alice) as socket:
        await socket.join(topic, "a")
        await socket.join(topic, "b")
        await api.send(key, alice, "hello", web=1)
        await socket.event("message")
        stale = await socket.reply(await socket.send(topic, "typing", {"on": True}, join_ref="a"))

        closes = [frame for frame in socket.frames if frame[3] == "phx_close"]
        assert [(frame[0], frame[2]) for frame in closes] == [("a", topic)]
        assert [frame[0] for frame in socket.frames if frame[3] == "message"] == ["b"]
        assert stale["response"]["error"]["code"] == "not_joined"


async def test_presence_across_processes(stack: Stack, phoenix: Phoenix, fresh: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    at_home = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(topic)
    laptop = await phoenix.connect(stack.web[1], participant_id=bob)
    phone = await phoenix.connect(stack.web[0], participant_id=bob)
    on_laptop = await laptop.join(topic)
    on_phone = await phone.join(topic)

    for channel in (at_home, on_laptop, on_phone):
        await channel.until(lambda channel=channel: channel.here == {alice: 1, bob: 2}, 3)
    await laptop.drop()
    await at_home.until(lambda: at_home.here == {alice: 1, bob: 1}, 3)
    await on_phone.leave()
    await at_home.until(lambda: at_home.here == {alice: 1}, 3)


async def test_who_comes_during_a_long_replay_is_present_after_it(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic, large = f"conversation:{alice}:{bob}", 240
    for _ in range(large // 20):
        await asyncio.gather(*(api.send(f"{alice}:{bob}", alice, "x" * 32_000) for _ in range(20)))
    line = Sleeper(stack.web[0], bob)
    try:
        line.send(["1", "1", topic, "phx_join", {"after": 0}])
        assert await asyncio.to_thread(line.frame)
        channel = await (await phoenix.connect(stack.web[1], participant_id=alice)).join(topic)
        await channel.until(lambda: channel.here == {alice: 1, bob: 1}, 3)

        here: set[str] = set()
        last = 0
        while last < large or alice not in here:
            frame = await asyncio.to_thread(line.frame)
            assert isinstance(frame, list)
            if frame[3] == "message":
                last = frame[4]["seq"]
            elif frame[3] == "presence_state":
                here = set(frame[4])
            elif frame[3] == "presence_diff":
                here = here - set(frame[4]["leaves"]) | set(frame[4]["joins"])
        assert here == {alice, bob}
    finally:
        line.close()


async def test_the_presences_of_a_killed_process_vanish(stack: Stack, phoenix: Phoenix, fresh: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    here = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(topic)
    await (await phoenix.connect(stack.web[1], participant_id=bob)).join(topic)
    await here.until(lambda: here.here == {alice: 1, bob: 1}, 3)

    stack.kill("web1")

    await here.until(lambda: here.here == {alice: 1}, 16)
    stack.restart("web1")
    await here.until(lambda: here.here == {alice: 1, bob: 1}, 5)


async def test_the_inbox_ticks_with_unread_counts_and_gathers_changes(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    await api.send(key, alice, "first")
    inboxes = [
        await (await phoenix.connect(url, participant_id=bob)).join(f"inbox:{bob}") for url in stack.web
    ]
    snapshots = [inbox.payloads("phx_reply")[0]["response"]["conversations"] for inbox in inboxes]
    assert [entry["unread_count"] for entries in snapshots for entry in entries] == [1, 1]

    await talk(api, key, alice, 100)

    for inbox in inboxes:
        await inbox.until(lambda inbox=inbox: _unread(inbox) == 101, 3)
        assert len(inbox.payloads("tick")) < 50
        counts = [entry["unread_count"] for tick in inbox.payloads("tick") for entry in tick["updates"]]
        assert counts == sorted(counts)
    [entry] = (await api.call("GET", f"inbox/{bob}"))["conversations"]
    assert entry == inboxes[0].payloads("tick")[-1]["updates"][0]
    assert (entry["dm_key"], entry["last_message"]["seq"]) == (key, 101)

    await api.call("POST", f"conversations/{key}/read", {"participant_id": bob, "seq": 101}, web=1)
    for inbox in inboxes:
        await inbox.until(lambda inbox=inbox: _unread(inbox) == 0, 3)


async def test_only_ones_own_inbox_can_be_joined(stack: Stack, phoenix: Phoenix, fresh: str) -> None:
    socket = await phoenix.connect(stack.web[0], participant_id=f"alice-{fresh}")
    with pytest.raises(PushFailed) as failure:
        await socket.join(f"inbox:bob-{fresh}")
    assert failure.value.code in {"not_allowed", "forbidden"}


async def test_typing_appears_and_ends_by_itself(stack: Stack, phoenix: Phoenix, fresh: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    here = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(topic)
    there = await (await phoenix.connect(stack.web[1], participant_id=bob)).join(topic)

    await here.push("typing", {"on": True})
    await there.event("typing", 2)
    began = time.monotonic()
    await there.until(lambda: len(there.payloads("typing")) == 2, 8)

    assert there.payloads("typing") == [
        {"participant_id": alice, "on": True},
        {"participant_id": alice, "on": False},
    ]
    assert 5.5 < time.monotonic() - began < 7.5


async def test_a_read_cursor_is_told_and_never_goes_back(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    here = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(f"conversation:{key}")
    there = await (await phoenix.connect(stack.web[1], participant_id=bob)).join(f"conversation:{key}")
    for number in range(3):
        await here.send(str(number))

    assert (await there.push("read", {"seq": 2})) == {"participant_id": bob, "seq": 2}
    assert (await here.event("read")) == {"participant_id": bob, "seq": 2}
    assert (await there.push("read", {"seq": 1}))["seq"] == 2
    assert (await there.push("read", {"seq": 99}))["seq"] == 3


async def test_a_removed_member_gets_nothing_more_though_others_go_on(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob, carol = f"alice-{fresh}", f"bob-{fresh}", f"carol-{fresh}"
    key, topic = f"group-{fresh}", f"conversation:group-{fresh}"
    await api.group(key, alice, bob, carol)
    staying = await (await phoenix.connect(stack.web[1], participant_id=bob)).join(topic)
    async with (
        raw_socket(stack.web[1], participant_id=carol) as socket,
        raw_socket(stack.web[0], participant_id=carol) as second,
    ):
        for one in (socket, second):
            await one.join(topic)
            await one.join(f"inbox:{carol}", "inbox")
        talking = asyncio.create_task(talk(api, key, alice, 300))
        await staying.seq(50)

        removed = await api.call("DELETE", f"conversations/{key}/participants/{carol}")

        after = await api.send(key, alice, "carol is gone", web=0)
        await talking
        last = await api.send(key, bob, "last", web=1)
        await staying.seq(last["seq"])
        for one in (socket, second):
            await one.until(lambda one=one: [f for f in one.frames if f[3] == "phx_close"], 3)
            tick = [f[4] for f in one.frames if f[3] == "tick" and f[4]["removed"]]
            assert not tick or tick[-1]["removed"] == [key]
            refused = await one.reply(await one.send(topic, "send", {"text": "may I?"}, join_ref="join"))
            assert refused["response"]["error"]["code"] == "not_joined"
            events = [frame[3] for frame in one.frames if frame[2] == topic]
            assert events[-2:] == ["phx_close", "phx_reply"]
            seqs = [frame[4]["seq"] for frame in one.frames if frame[3] == "message"]
            # The removal and every append hold the conversation's lock: this is the last that carol may see.
            assert max(seqs) <= removed["last_seq"] < after["seq"]
            again = await one.join(topic, "again")
            assert again["response"]["error"]["code"] == "not_a_member"
        assert staying.seqs == list(range(1, last["seq"] + 1))


async def test_a_token_that_expires_closes_the_socket(guarded: Stack, phoenix: Phoenix, fresh: str) -> None:
    key = guarded.manage("createapikey", "e2e", "--scope", "read", "--scope", "write").strip()
    alice = f"alice-{fresh}"
    async with Api(guarded.web, key) as server:
        await server.send(f"{alice}:bob-{fresh}", alice, "hello")
        short = (await server.call("POST", "tokens", {"participant_id": alice, "ttl": 1}))["token"]
        long = (await server.call("POST", "tokens", {"participant_id": alice, "ttl": 60}))["token"]

        socket = await phoenix.connect(guarded.web[0], token=short)
        began = time.monotonic()
        staying = await phoenix.connect(guarded.web[0], token=long)
        channel = await socket.join(f"conversation:{alice}:bob-{fresh}")
        other = await staying.join(f"conversation:{alice}:bob-{fresh}")
        assert channel.seqs == [1]

        # A second, and five more for clocks that differ.
        assert (await socket.event("close", 9))["code"] == 4001
        assert time.monotonic() - began > 1
        await socket.event("error", 5)
        assert len(socket.payloads("open")) == 1
        await server.send(f"{alice}:bob-{fresh}", alice, "still there?")
        await other.seq(2)
        with pytest.raises(PushFailed, match="not_a_member"):
            await staying.join(f"conversation:carol-{fresh}:bob-{fresh}")
    async with Api(guarded.web) as nobody:
        with pytest.raises(Refused) as refusal:
            await nobody.log(f"{alice}:bob-{fresh}")
        assert refusal.value.status == 401


def _unread(inbox: Channel) -> int | None:
    ticks = inbox.payloads("tick")
    return ticks[-1]["updates"][0]["unread_count"] if ticks and ticks[-1]["updates"] else None
