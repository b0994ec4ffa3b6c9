"""A server that asks for keys and tokens: tokens that expire, are refused, or cannot be had."""

import asyncio

import pytest
from fleetlm_client import AsyncFleetLM, ClosedEvent, FleetLM, FleetLMError, StatusEvent
from fleetlm_client.tokens import expires_at, subject

from tests.e2e.python_sdk.conftest import NewClient
from tests.e2e.python_sdk.watching import Watcher
from tests.e2e.stack import Stack

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@pytest.fixture(scope="module")
def key(guarded: Stack) -> str:
    scopes = (word for scope in ("read", "write", "admin") for word in ("--scope", scope))
    return guarded.manage("createapikey", "sdk", *scopes).strip()


@pytest.fixture
def server(guarded: Stack, client: NewClient, key: str) -> AsyncFleetLM:
    """One who may do everything, and is nobody."""
    return client(None, url=guarded.web[0], token=key)


class Mint:
    """A token function, as an app has one: it asks the app's own server."""

    def __init__(self, server: AsyncFleetLM, participant_id: str, ttl: int = 60) -> None:
        self.given: list[str] = []
        self.fails = 0
        self._server = server
        self._body = {"participant_id": participant_id, "ttl": ttl}

    async def __call__(self) -> str:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the app's server is away")
        self.given.append((await self._server.request("POST", "tokens", body=self._body))["token"])
        return self.given[-1]


async def test_a_token_that_expires_is_replaced_and_nothing_is_missed(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, alice: str, bob: str, dm: str
) -> None:
    """Over both ways at once: the server's clock is a few seconds lenient."""
    await server.conversation(dm).send("first", sender_id=bob)
    mints = [Mint(server, alice, ttl=1) for _ in range(2)]
    fleets = [
        client(None, url=guarded.web[0], token=mint, transport=transport)
        for mint, transport in zip(mints, ("websocket", "sse"), strict=True)
    ]
    assert fleets[0].participant_id is None
    async with (
        Watcher(fleets[0].conversation(dm), after=0) as over_socket,
        Watcher(fleets[1].conversation(dm), after=0) as over_stream,
    ):
        both, sent = (over_socket, over_stream), 1
        while not all(watcher.of(StatusEvent) for watcher in both):
            sent += 1
            await server.conversation(dm).send(str(sent), sender_id=bob)
            for watcher in both:
                await watcher.seq(sent)
        for fleet in fleets:
            assert fleet.participant_id == alice
            sent += 1
            assert (await fleet.conversation(dm).send("I, too")).seq == sent
        for watcher in both:
            await watcher.seq(sent)
    for watcher in both:
        assert watcher.seqs == list(range(1, sent + 1))
    assert [event.status for event in over_socket.of(StatusEvent)][:2] == ["offline", "online"]
    assert "4001" in str(over_socket.of(StatusEvent)[0].error)


async def test_without_a_function_the_end_of_a_token_is_told(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, alice: str, dm: str
) -> None:
    await server.conversation(dm).send("first", sender_id=alice)
    token = await Mint(server, alice, ttl=1)()
    fleets = [client(None, url=guarded.web[0], token=token, transport=way) for way in ("websocket", "sse")]
    async with (
        Watcher(fleets[0].conversation(dm)) as over_socket,
        Watcher(fleets[1].conversation(dm)) as over_stream,
    ):
        for watcher in (over_socket, over_stream):
            await watcher.until(lambda w=watcher: w.ended)
            assert watcher.texts == ["first"]
            assert watcher.failure is not None
            assert watcher.failure.code == "token_expired"
    with pytest.raises(FleetLMError) as refused:
        await fleets[0].conversation(dm).send("too late")
    assert (refused.value.code, refused.value.status) == ("token_expired", 401)


async def test_a_token_function_that_fails_is_asked_again(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, alice: str, dm: str
) -> None:
    mint = Mint(server, alice)
    mint.fails = 3
    fleet = client(None, url=guarded.web[0], token=mint)
    await server.conversation(dm).send("first", sender_id=alice)
    async with Watcher(fleet.conversation(dm)) as watcher:
        await watcher.seq(1)
    mint.fails = 1_000
    with pytest.raises(FleetLMError) as unavailable:
        await client(None, url=guarded.web[0], token=mint, retry_for=0.2).conversation(dm).send("x")
    assert unavailable.value.code == "token_unavailable"
    assert isinstance(unavailable.value.__cause__, ConnectionError)


@TRANSPORTS
async def test_a_key_or_token_that_is_refused(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, alice: str, bob: str, fresh: str, transport: str
) -> None:
    await server.create_conversation(f"group-{fresh}", participants=[bob])
    for token, code in (("flk_wrong", "not_authenticated"), (await Mint(server, alice)(), "not_a_member")):
        fleet = client(None, url=guarded.web[0], token=token, transport=transport)
        async with Watcher(fleet.conversation(f"group-{fresh}")) as watcher:
            await watcher.until(lambda w=watcher: w.ended)
        assert watcher.failure is not None
        assert watcher.failure.code == code


@TRANSPORTS
async def test_removal_ends_it(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, alice: str, bob: str, fresh: str, transport: str
) -> None:
    await server.create_conversation(f"group-{fresh}", participants=[alice, bob])
    fleet = client(None, url=guarded.web[0], token=Mint(server, alice), transport=transport)
    async with Watcher(fleet.conversation(f"group-{fresh}")) as watcher:
        await watcher.joined()
        await server.conversation(f"group-{fresh}").remove_participant(alice)
        await watcher.until(lambda: watcher.ended)
    assert watcher.told[-1] == ClosedEvent("removed")
    assert watcher.failure is None


async def test_a_key_that_acts_for_many(
    guarded: Stack, server: AsyncFleetLM, client: NewClient, key: str, alice: str, bob: str, dm: str
) -> None:
    assert await server.identify() is None
    with pytest.raises(ValueError, match="participant_id"):
        await server.inbox()
    acting = client(alice, url=guarded.web[0], token=key)
    async with (
        Watcher(server.conversation(dm), after=0) as of_nobody,
        Watcher(acting.conversation(dm)) as watcher,
    ):
        await of_nobody.joined()
        await watcher.joined()
        await server.conversation(dm).send("as bob", sender_id=bob)
        await acting.conversation(dm).send("as myself")
        await of_nobody.seq(2)
        await watcher.seq(2)
    assert [message.sender_id for message in of_nobody.messages] == [bob, alice]
    with pytest.raises(FleetLMError) as nobody:
        await server.conversation(dm).send("as nobody")
    assert nobody.value.code == "invalid_request"


async def test_an_ordinary_function_may_block(
    guarded: Stack, server: AsyncFleetLM, key: str, alice: str, dm: str
) -> None:
    await server.conversation(dm).send("first", sender_id=alice)

    def mint() -> str:
        with FleetLM(guarded.web[0], token=key) as app:
            token: str = app.request("POST", "tokens", body={"participant_id": alice})["token"]
            return token

    def use() -> str:
        with FleetLM(guarded.web[0], token=mint) as fleet:
            return next(fleet.conversation(dm).messages()).text

    assert await asyncio.to_thread(use) == "first"


def test_what_a_token_says_of_itself() -> None:
    token = "e30.eyJzdWIiOiJhbGljZSIsImV4cCI6MTc2NzYxNDQwMn0.c2ln"
    assert (subject(token), expires_at(token)) == ("alice", 1767614402)
    for other in ("flk_0123", "a.b.c", "e30.W10.x", "..", ""):
        assert (subject(other), expires_at(other)) == (None, None)
