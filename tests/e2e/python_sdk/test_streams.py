"""Where sockets are blocked, event streams do; where they are open again, sockets do."""

import asyncio

from fleetlm_client import Joined, StatusEvent

from tests.e2e.faulty_proxy import FAIR, FaultyProxy, Weather
from tests.e2e.python_sdk.conftest import NewClient
from tests.e2e.python_sdk.watching import Watcher
from tests.e2e.rest import Api
from tests.e2e.talk import talk

BLOCKED = Weather(refuses_upgrades=True)


async def test_where_sockets_are_blocked_and_back_when_they_are_not(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    network.weather = BLOCKED
    conversation = client(alice).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        assert not watcher.of(StatusEvent)
        assert conversation._socket() is None
        talking = asyncio.create_task(talk(api, dm, bob, 300))
        await watcher.until(lambda: len(watcher.seqs) >= 100)
        assert (await conversation.send("by REST")).seq
        network.weather = FAIR
        await watcher.joined(2)
        assert conversation._socket() is not None
        await talking
        await watcher.seq(301)
    assert watcher.seqs == list(range(1, 302))


async def test_a_network_that_begins_to_block_sockets(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    conversation = client(alice).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        assert conversation._socket() is not None
        network.weather = BLOCKED
        network.cut()
        await talk(api, dm, bob, 10)
        await watcher.seq(10)
        assert conversation._socket() is None
    assert watcher.seqs == list(range(1, 11))


async def test_whoever_wants_sockets_only_waits_for_them(
    network: FaultyProxy, client: NewClient, alice: str, dm: str
) -> None:
    network.weather = BLOCKED
    async with Watcher(client(alice, transport="websocket").conversation(dm)) as watcher:
        await watcher.until(lambda: watcher.of(StatusEvent))
        assert not watcher.of(Joined)
        network.weather = FAIR
        await watcher.joined()


async def test_a_stream_makes_a_dm_like_a_socket_does(client: NewClient, alice: str, dm: str) -> None:
    async with Watcher(client(alice, transport="sse").conversation(dm)) as watcher:
        await watcher.joined()
    assert watcher.of(Joined)[0].last_seq == 0


async def test_an_inbox_over_streams(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    network.weather = BLOCKED
    inbox = client(alice).follow_inbox()
    assert (await anext(inbox)).entries == ()
    await api.send(dm, bob, "hello")
    change = await anext(inbox)
    assert [(entry.key, entry.unread_count) for entry in change.entries] == [(dm, 1)]
    await inbox.aclose()
