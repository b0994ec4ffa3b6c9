"""What is sent is stored once, in the order in which it was sent, or refused."""

import asyncio

import pytest
from fleetlm_client import FleetLMError, Sent, StatusEvent

from tests.e2e.faulty_proxy import FAIR, FaultyProxy, Weather
from tests.e2e.python_sdk.conftest import NewClient
from tests.e2e.python_sdk.watching import Watcher
from tests.e2e.rest import Api
from tests.e2e.stack import Stack

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


async def test_the_answer_says_where_it_is_stored(api: Api, client: NewClient, alice: str, dm: str) -> None:
    conversation = client(alice).conversation(dm)
    first = await conversation.send("one", client_id="mine", metadata={"n": 1}, content={"card": [1]})
    again = await conversation.send("one", client_id="mine", metadata={"n": 1}, content={"card": [1]})
    (stored,) = await api.log(dm)
    assert first == Sent(stored["id"], 1, stored["created_at"])
    assert again == Sent(stored["id"], 1, stored["created_at"], deduplicated=True)
    assert (stored["sender_id"], stored["metadata"], stored["content"]) == (alice, {"n": 1}, {"card": [1]})
    second = await conversation.send("two", reply_to=1, expected_seq=1)
    assert (second.seq, (await api.log(dm))[1]["reply_to"]) == (2, 1)


@TRANSPORTS
async def test_many_at_once_are_stored_in_order(
    api: Api, client: NewClient, alice: str, dm: str, transport: str
) -> None:
    conversation = client(alice, transport=transport).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        sent = await asyncio.gather(*(conversation.send(str(number)) for number in range(60)))
        await watcher.seq(60)
    assert [one.seq for one in sent] == list(range(1, 61))
    assert watcher.texts == [str(number) for number in range(60)]


@TRANSPORTS
async def test_what_is_sent_offline_is_stored_once_and_in_order(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, dm: str, transport: str
) -> None:
    conversation = client(alice, transport=transport).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        network.weather = Weather(refuses=True)
        network.cut()
        await watcher.until(lambda: watcher.of(StatusEvent))
        sending = [asyncio.create_task(conversation.send(str(number))) for number in range(20)]
        done, _ = await asyncio.wait(sending, timeout=0.4)
        assert not done
        assert await api.call("GET", f"conversations/{dm}/messages") != []
        network.weather = FAIR
        sent = await asyncio.gather(*sending)
        await watcher.seq(20)
    assert [one.seq for one in sent] == list(range(1, 21))
    assert watcher.texts == [message["text"] for message in await api.log(dm)]
    assert watcher.texts == [str(number) for number in range(20)]


@TRANSPORTS
async def test_an_acknowledgement_that_is_lost_makes_no_second_message(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, dm: str, transport: str
) -> None:
    conversation = client(alice, transport=transport).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        await asyncio.gather(*(conversation.history() for _ in range(3)))  # connections that are there
        network.half_open("down")  # it arrives, but its answer does not
        sent = await conversation.send("once")
        await watcher.seq(1)
    assert sent.deduplicated
    assert [message["text"] for message in await api.log(dm)] == ["once"]


async def test_cuts_amid_many_sends(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, dm: str
) -> None:
    conversation = client(alice).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        sending = [asyncio.create_task(conversation.send(str(number))) for number in range(120)]
        for seq in (20, 50, 80):
            await watcher.seq(seq)
            network.cut(after=50, direction="up" if seq == 50 else "down")
        sent = await asyncio.gather(*sending)
        await watcher.seq(120)
    assert [one.seq for one in sent] == list(range(1, 121))
    assert watcher.texts == [str(number) for number in range(120)]


@TRANSPORTS
async def test_what_is_refused_holds_up_nothing(
    api: Api, client: NewClient, alice: str, dm: str, transport: str
) -> None:
    conversation = client(alice, transport=transport).conversation(dm)
    async with Watcher(conversation, after=0) as watcher:
        await watcher.joined()
        good, late, large, last = await asyncio.gather(
            conversation.send("good"),
            conversation.send("late", expected_seq=7),
            conversation.send("x" * 40_000),
            conversation.send("last"),
            return_exceptions=True,
        )
    assert isinstance(good, Sent)
    assert isinstance(last, Sent)
    assert isinstance(late, FleetLMError)
    assert isinstance(large, FleetLMError)
    assert (late.code, large.code, last.seq) == ("seq_conflict", "too_large", 2)
    assert not late.passing
    if transport == "sse":
        assert (late.status, large.status) == (409, 413)


async def test_what_is_no_json_is_refused_at_once(client: NewClient, alice: str, dm: str) -> None:
    conversation = client(alice).conversation(dm)
    with pytest.raises(TypeError):
        await conversation.send("x", metadata={"set": {1}})
    with pytest.raises(ValueError, match="surrogates"):
        await conversation.send("half of a pair: \ud83d")
    assert (await conversation.send("fine: \U0001f600\u2028")).seq == 1


async def test_a_server_that_does_not_come_back(
    network: FaultyProxy, client: NewClient, alice: str, dm: str
) -> None:
    network.weather = Weather(refuses=True)
    fleet = client(alice, retry_for=0.3)
    with pytest.raises(FleetLMError) as away:
        await fleet.conversation(dm).send("nobody is there")
    assert (away.value.code, away.value.status) == ("unreachable", None)
    network.weather = FAIR
    assert (await fleet.conversation(dm).send("somebody is there")).seq == 1


async def test_a_send_is_taken_back_before_its_turn(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, dm: str
) -> None:
    network.weather = Weather(refuses=True)
    conversation = client(alice).conversation(dm)
    sending = [asyncio.create_task(conversation.send(text)) for text in ("one", "two", "three")]
    await asyncio.wait(sending, timeout=0.05)
    sending[1].cancel()
    network.weather = FAIR
    assert [(await sending[place]).seq for place in (0, 2)] == [1, 2]
    assert [message["text"] for message in await api.log(dm)] == ["one", "three"]


async def test_what_waits_at_the_end_is_told(
    network: FaultyProxy, client: NewClient, alice: str, dm: str
) -> None:
    network.weather = Weather(refuses=True)
    fleet = client(alice)
    sending = asyncio.create_task(fleet.conversation(dm).send("too late"))
    await asyncio.wait([sending], timeout=0.05)
    await fleet.close()
    with pytest.raises(FleetLMError) as closed:
        await sending
    assert closed.value.code == "closed"
    for again in (
        fleet.conversation(dm).send("after the end"),
        fleet.inbox(),
        fleet.request("GET", "agents"),
    ):
        with pytest.raises(FleetLMError) as closed:
            await again
        assert closed.value.code == "closed"


async def test_calls_are_made_again_only_where_that_is_safe(
    stack: Stack, network: FaultyProxy, client: NewClient, alice: str, fresh: str
) -> None:
    fleet = client(alice)
    groups = [{"key": f"{name}-{fresh}", "participants": [alice]} for name in ("one", "two")]
    await asyncio.gather(*(fleet.request("GET", "agents") for _ in range(2)))  # connections that are there
    network.half_open("down")
    read, made = await asyncio.gather(
        fleet.request("GET", "conversations", query={"limit": 1, "kind": None}),
        fleet.request("POST", "conversations", body=groups[0]),
        return_exceptions=True,
    )
    assert isinstance(read, dict)
    assert isinstance(made, FleetLMError)
    assert made.code == "unreachable"
    assert (await fleet.conversation(f"one-{fresh}").info()).key == f"one-{fresh}"  # it was made, once
    # What could not have been made is made again.
    stack.kill("web1")
    fleet = client(alice, url=stack.web[1])
    making = asyncio.create_task(fleet.request("POST", "conversations", body=groups[1]))
    await asyncio.wait([making], timeout=0.2)
    stack.restart("web1")
    assert (await making)["key"] == f"two-{fresh}"
