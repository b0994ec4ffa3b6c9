"""Every message once, in order, whatever the network does."""

import asyncio
import contextlib
import itertools
import signal

import pytest
from fleetlm_client import (
    ClosedEvent,
    FleetLMError,
    Joined,
    MessageEvent,
    ResetEvent,
    RunEvent,
    StatusEvent,
    Timing,
)
from fleetlm_client import feed as feeds

from tests.e2e.faulty_proxy import FAIR, FaultyProxy, Weather
from tests.e2e.python_sdk.conftest import NewClient, address
from tests.e2e.python_sdk.watching import QUICK, Watcher
from tests.e2e.rest import Api
from tests.e2e.stack import Stack
from tests.e2e.talk import talk

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@TRANSPORTS
async def test_the_newest_then_what_comes(
    api: Api, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    for number in range(1, 8):
        await api.send(dm, bob, str(number))
    async with Watcher(client(alice, transport=transport).conversation(f"{bob}:{alice}"), limit=3) as watcher:
        await watcher.seq(7)
        await api.send(dm, bob, "live")
        await watcher.seq(8)
    assert watcher.texts == ["5", "6", "7", "live"]
    assert isinstance(watcher.told[0], Joined)
    assert (watcher.told[0].key, watcher.told[0].last_seq) == (dm, 7)
    assert {member.id for member in watcher.told[0].members} == {alice, bob}
    assert watcher.messages[-1].raw["text"] == "live"


@TRANSPORTS
async def test_a_place_to_begin(
    api: Api, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    conversation = client(alice, transport=transport).conversation(dm)
    async with Watcher(conversation, limit=0) as watcher:
        await watcher.joined()
        await talk(api, dm, bob, 250)
        await watcher.seq(250)
    assert watcher.seqs == list(range(1, 251))
    for place, first in (({"after": 0}, 1), ({"after": 240}, 241), ({"limit": 220}, 31)):
        async with Watcher(conversation, **place) as watcher:
            await watcher.seq(250)
        assert watcher.seqs == list(range(first, 251))


@TRANSPORTS
async def test_connections_are_cut_in_the_middle_of_a_burst(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    await api.send(dm, bob, "first")
    async with Watcher(client(alice, transport=transport).conversation(dm), after=0) as watcher:
        await watcher.seq(1)
        talking = asyncio.create_task(talk(api, dm, bob, 400))
        for seq in (60, 130, 200, 270):
            await watcher.until(lambda seq=seq: watcher.seqs[-1] >= seq)
            network.cut(after=700)  # somewhere in a frame
        await talking
        await watcher.seq(401)
    assert watcher.seqs == list(range(1, 402))
    statuses = [event.status for event in watcher.of(StatusEvent)]
    assert statuses.count("online") >= 3
    # After each loss it says so, until it is back.
    assert [status for status, _ in itertools.groupby(statuses)][0::2] == ["offline"] * statuses.count(
        "online"
    )
    assert all(event.error and event.error.code == "unreachable" for event in watcher.of(StatusEvent)[:1])


@TRANSPORTS
async def test_a_half_open_connection_is_noticed(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    await api.send(dm, bob, "first")
    async with Watcher(client(alice, transport=transport).conversation(dm), after=0) as watcher:
        await watcher.seq(1)
        network.half_open("down")
        await api.send(dm, bob, "into the void")
        await watcher.seq(2)
    assert watcher.seqs == [1, 2]
    assert len(watcher.of(Joined)) == 2


async def test_a_process_that_drains_sends_its_clients_elsewhere(
    api: Api, stack: Stack, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    async with (
        FaultyProxy([address(stack.web[0])]) as front,
        Watcher(client(alice, url=front.url).conversation(dm), after=0) as watcher,
    ):
        await watcher.joined()
        front._servers = [address(stack.web[1])]
        stack.kill("web0", signal.SIGTERM)
        await watcher.until(lambda: watcher.of(StatusEvent))
        await api.send(dm, bob, "elsewhere", web=1)
        await watcher.seq(1)
        await asyncio.to_thread(stack.wait, "web0")
    error = watcher.of(StatusEvent)[0].error
    assert error is not None
    assert "1012" in error.message


async def test_two_followers_share_a_join_and_each_gets_its_own(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    for number in range(1, 31):
        await api.send(dm, bob, str(number))
    conversation = client(alice).conversation(dm)
    async with Watcher(conversation, limit=5) as newest, Watcher(conversation, after=0) as whole:
        await whole.seq(30)
        async with Watcher(conversation, limit=20) as late:
            await api.send(dm, bob, "31")
            for watcher in (newest, whole, late):
                await watcher.seq(31)
            network.cut()
            await api.send(dm, bob, "32")
            for watcher in (newest, whole, late):
                await watcher.seq(32)
    assert newest.seqs == list(range(26, 33))
    assert whole.seqs == list(range(1, 33))
    assert late.seqs in ([*range(11, 33)], [*range(12, 33)])  # the 31st came before, or while it began
    assert network.accepted <= 5  # two sockets, and REST


async def test_one_who_reads_slowly_holds_up_nobody_and_misses_nothing(
    api: Api, client: NewClient, alice: str, bob: str, dm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "AHEAD", 20)
    conversation = client(alice).conversation(dm)
    async with (
        Watcher(conversation, after=0) as quick,
        contextlib.aclosing(conversation.messages(after=0)) as slow,
    ):
        await quick.joined()
        await api.send(dm, bob, "1")
        assert (await anext(slow)).seq == 1
        await talk(api, dm, bob, 100)
        await quick.seq(101)
        assert [(await anext(slow)).seq for _ in range(100)] == list(range(2, 102))
    assert quick.seqs == list(range(1, 102))


async def test_a_long_absence_is_read_page_by_page(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    await api.send(dm, bob, "first")
    async with Watcher(client(alice).conversation(dm), after=0) as watcher:
        await watcher.seq(1)
        network.weather = Weather(refuses=True)
        network.cut()
        batch = {"messages": [{"sender_id": bob, "text": "x"}] * 100}
        for _ in range(12):
            await api.call("POST", f"conversations/{dm}/messages/batch", batch)
        network.weather = FAIR
        await watcher.seq(1201)
    assert watcher.seqs == list(range(1, 1202))


async def test_a_conversation_made_anew_is_another_log(
    stack: Stack, api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    for text in ("old 1", "old 2", "old 3"):
        await api.send(dm, bob, text)
    fleet = client(alice)
    page = await fleet.conversation(dm).history()
    async with (
        Watcher(fleet.conversation(dm), after=0) as over_socket,
        Watcher(client(alice, transport="sse").conversation(dm), after=0) as over_stream,
    ):
        both = (over_socket, over_stream)
        for watcher in both:
            await watcher.seq(3)
        network.weather = Weather(refuses=True)
        network.cut()
        for watcher in both:
            await watcher.until(lambda w=watcher: w.of(StatusEvent))
        forget = f"from conversations.models import Conversation as C; C.objects.filter(key='{dm}').delete()"
        await asyncio.to_thread(stack.manage, "shell", "-c", forget)
        for text in ("new 1", "new 2"):
            await api.send(dm, bob, text)
        network.weather = FAIR
        for watcher in both:
            await watcher.until(lambda w=watcher: w.texts[-1] == "new 2")
    for watcher in both:
        assert watcher.texts == ["old 1", "old 2", "old 3", "new 1", "new 2"]
        (reset,) = watcher.of(ResetEvent)
        assert reset.epoch == watcher.of(Joined)[-1].epoch != page.epoch

    # One who comes back with the old place is not given the new log as its continuation.
    async with Watcher(fleet.conversation(dm), after=1, epoch=page.epoch) as later:
        await later.until(lambda: later.texts[-1:] == ["new 2"])
    assert later.texts == ["new 1", "new 2"]
    assert len(later.of(ResetEvent)) == 1
    # Nor one whose place is beyond it.
    async with Watcher(fleet.conversation(dm), after=700) as beyond:
        await beyond.until(lambda: beyond.texts[-1:] == ["new 2"])
    assert len(beyond.of(ResetEvent)) == 1


async def test_removal_ends_it(api: Api, client: NewClient, alice: str, bob: str, fresh: str) -> None:
    await api.group(f"group-{fresh}", alice, bob)
    conversation = client(alice).conversation(f"group-{fresh}")
    async with Watcher(conversation) as watcher:
        await watcher.joined()
        await client(bob).conversation(f"group-{fresh}").remove_participant(alice)
        await watcher.until(lambda: watcher.ended)
    assert watcher.of(ClosedEvent) == [ClosedEvent("removed")]
    assert watcher.told[-1] == ClosedEvent("removed")
    assert watcher.failure is None
    assert conversation.closed == "removed"


async def test_what_is_refused_raises(client: NewClient, alice: str, fresh: str) -> None:
    for transport in ("websocket", "sse"):
        messages = client(alice, transport=transport).conversation(f"nothing-{fresh}").messages()
        with pytest.raises(FleetLMError) as refused:
            await anext(messages)
        assert refused.value.code in ("conversation_not_found", "not_a_member")


async def test_a_server_that_is_not_there(
    client: NewClient, network: FaultyProxy, alice: str, dm: str
) -> None:
    network.weather = Weather(refuses=True)
    async with Watcher(client(alice, retry_for=0.3).conversation(dm)) as watcher:
        await watcher.until(lambda: watcher.ended)
    assert watcher.failure is not None
    assert watcher.failure.code == "unreachable"
    async with Watcher(client(alice).conversation(dm)) as patient:
        await patient.until(lambda: patient.of(StatusEvent))
        assert not patient.of(Joined)
        network.weather = FAIR
        await patient.joined()


async def test_leaving_leaves_nothing_behind(
    api: Api, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    fleet = client(alice)
    await api.send(dm, bob, "one")
    async for message in fleet.conversation(dm).messages():
        assert message.text == "one"
        break
    task = asyncio.create_task(anext(fleet.conversation(dm).messages(limit=0)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stuck = asyncio.create_task(anext(fleet.conversation(dm).events(limit=0)))
    await stuck
    waiting = asyncio.create_task(anext(fleet.conversation(dm).messages(limit=0)))
    await asyncio.sleep(0)
    await fleet.close()
    with pytest.raises(FleetLMError) as closed:
        await waiting
    assert closed.value.code == "closed"
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("fleetlm")]


async def test_one_who_is_too_slow_is_cut_off_and_goes_on(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    """The server keeps 1 MiB for a socket, then it closes it with 4008; the kernel keeps some more."""
    await api.send(dm, bob, "first")
    async with Watcher(client(alice, timing=Timing()).conversation(dm), after=0) as watcher:
        await watcher.seq(1)
        network.weather = Weather(bytes_per_second=20_000)
        batch = {"messages": [{"sender_id": bob, "text": "x" * 32_000}] * 7}
        for _ in range(50):
            await api.call("POST", f"conversations/{dm}/messages/batch", batch)
        network.weather = FAIR
        await watcher.seq(351)
    assert watcher.seqs == list(range(1, 352))
    assert watcher.of(StatusEvent)


@TRANSPORTS
async def test_a_slow_network_is_no_loss(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, bob: str, dm: str, transport: str
) -> None:
    await api.send(dm, bob, "first")
    network.weather = Weather(delay=0.05)
    async with Watcher(client(alice, transport=transport).conversation(dm), after=0) as watcher:
        await talk(api, dm, bob, 20)
        await watcher.seq(21)
        # Longer than a heartbeat and its deadline.
        await asyncio.sleep(QUICK.heartbeat + QUICK.reply)
    assert watcher.seqs == list(range(1, 22))
    assert not watcher.of(StatusEvent)
    assert isinstance(watcher.told[1], MessageEvent)
    assert not watcher.of(RunEvent)
