"""Without Valkey everything goes on, a little later; with it again, nothing was lost and all is fast as before."""

import asyncio
import time

from tests.e2e.phoenix import Channel, Phoenix
from tests.e2e.rest import Api
from tests.e2e.stack import Stack
from tests.e2e.talk import Traffic

CATCH_UP = 3.0
FAST = 0.5


async def test_valkey_killed_in_the_middle_of_traffic(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    await api.send(key, alice, "first")
    sockets = [await phoenix.connect(url, participant_id=bob) for url in stack.web]
    channels = [await socket.join(topic) for socket in sockets]
    inboxes = [await socket.join(f"inbox:{bob}") for socket in sockets]
    async with Traffic(api, key, alice) as traffic:
        await traffic.more(100)

        stack.kill("valkey")

        for _ in range(3):
            await traffic.more(50)
            newest = max(traffic.acknowledged.values())
            await asyncio.gather(*(channel.seq(newest, CATCH_UP) for channel in channels))
        late = await phoenix.connect(stack.web[1], participant_id=alice)
        joined = await late.join(topic)
        await joined.seq(max(traffic.acknowledged.values()), CATCH_UP)
        await traffic.stop()
    assert (traffic.refusals, traffic.lost) == ([], [])
    # One alone, after which nothing comes that would show its hole.
    for web in (0, 1):
        await _delay(api, key, alice, channels, web)
    count = len(traffic.acknowledged) + 3
    await asyncio.gather(*(inbox.until(lambda inbox=inbox: _unread(inbox) == count, 5) for inbox in inboxes))

    async with Traffic(api, key, alice, name="again") as traffic:
        await traffic.more(50)
        stack.restart("valkey")
        await traffic.more(100)
        await traffic.stop()
    assert (traffic.refusals, traffic.lost) == ([], [])
    await _until_fast(api, key, alice, channels)
    delays = [await _delay(api, key, alice, channels, number % 2) for number in range(20)]
    assert max(delays) < FAST

    log = await api.log(key)
    assert [message["seq"] for message in log] == list(range(1, len(log) + 1))
    for channel in channels:
        await channel.seq(len(log))
        assert channel.seqs == list(range(channel.seqs[0], len(log) + 1))
        assert len(channel.joins) == 1
    assert channels[0].log[-100:] == channels[1].log[-100:] == log[-100:]


async def test_agents_and_large_inboxes_go_on_without_valkey(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    keys = [f"{alice}:bob-{fresh}-{number}" for number in range(25)]
    for key in keys:
        await api.send(key, alice, "hello")
    assert len((await api.call("GET", f"inbox/{alice}"))["conversations"]) == len(keys)

    stack.kill("valkey")

    for web in (0, 1):
        inbox = await api.call("GET", f"inbox/{alice}", web=web)
        assert {entry["key"] for entry in inbox["conversations"]} == set(keys)
    await api.send(f"{alice}:echo-bot", alice, "anyone?")
    began = time.monotonic()
    page = await api.call("GET", f"conversations/{alice}:echo-bot/messages?after=1&wait=10", web=1)
    assert [message["text"] for message in page["messages"]] == ["You said: anyone?"]
    # A look of the dispatcher each second, and a look of the sessions every two.
    assert time.monotonic() - began < 5
    async with asyncio.timeout(10):
        health = await api.health()
    assert health == (200, "degraded")


async def test_presence_comes_back_with_valkey(stack: Stack, phoenix: Phoenix, fresh: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    here = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(topic)
    await here.until(lambda: here.here == {alice: 1}, 3)
    stack.kill("valkey")
    there = await (await phoenix.connect(stack.web[1], participant_id=bob)).join(topic)
    stack.restart("valkey")
    for channel in (here, there):
        await channel.until(lambda channel=channel: channel.here == {alice: 1, bob: 1}, 8)


async def _delay(api: Api, key: str, sender: str, channels: list[Channel], web: int) -> float:
    """Seconds from the sending on one process to the socket on the other."""
    began = time.monotonic()
    message = await api.send(key, sender, "how long?", web=web)
    await channels[1 - web].seq(message["seq"], CATCH_UP)
    return time.monotonic() - began


async def _until_fast(api: Api, key: str, sender: str, channels: list[Channel]) -> None:
    """Wait until both processes hear of each other again."""
    async with asyncio.timeout(10):
        for web in (0, 1):
            while await _delay(api, key, sender, channels, web) > FAST:
                pass


def _unread(inbox: Channel) -> int | None:
    ticks = inbox.payloads("tick")
    return ticks[-1]["updates"][0]["unread_count"] if ticks and ticks[-1]["updates"] else None
