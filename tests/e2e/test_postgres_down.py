"""Without Postgres nothing is promised; with it again everything goes on by itself."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.phoenix import Channel, Phoenix, PushFailed
from tests.e2e.raw_socket import Sleeper
from tests.e2e.rest import Api, Refused
from tests.e2e.stack import Stack, whole_stack
from tests.e2e.talk import Traffic

CLEAR = {(503, "unavailable")}
BACK = 10.0
"""Seconds after which all is as before, however long Postgres was away."""


@pytest.fixture(scope="module")
def lasting() -> Iterator[Stack]:
    """A stack with a Postgres of its own, which keeps what it has acknowledged."""
    with whole_stack(own_postgres=True) as running:
        yield running


@pytest.fixture
def broken(lasting: Stack) -> Iterator[Stack]:
    """The same, whole at the start of every test."""
    yield lasting
    lasting.restore()


@pytest.fixture
async def rest(broken: Stack, fresh: str) -> AsyncIterator[Api]:
    async with Api(broken.web) as client:
        for web in (0, 1):
            await _until_stored(client, f"alice-{fresh}:welcome-{fresh}", web)
        yield client


async def test_postgres_stopped_at_once_in_the_middle_of_traffic(
    broken: Stack, phoenix: Phoenix, rest: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    await rest.send(key, alice, "first")
    sockets = [await phoenix.connect(url, participant_id=bob) for url in broken.web]
    channels = [await socket.join(topic) for socket in sockets]
    inbox = await sockets[0].join(f"inbox:{bob}")
    async with Traffic(rest, key, alice) as traffic:
        await traffic.more(100)

        broken.kill("postgres", signal.SIGQUIT)
        broken.wait("postgres")

        # Each waits for a connection first, for at most 5 s, and an append for the batch before it.
        await asyncio.gather(
            traffic.until(lambda: len(traffic.refusals) >= 4),
            _refused_clearly(rest, "GET", f"conversations/{key}/messages"),
            _refused_clearly(rest, "GET", f"inbox/{bob}", web=1),
            _refused_clearly(rest, "POST", f"conversations/{key}/read", {"participant_id": bob, "seq": 1}),
            _unavailable(channels[1]),
        )
        await _until_unready(rest)

        broken.restart("postgres")

        await traffic.more(100, within=BACK)
        await traffic.stop()
    assert set(traffic.refusals) <= CLEAR
    assert traffic.lost == []
    await _all_is_well(rest, key, channels, traffic)
    await inbox.until(lambda: _last_seq(inbox) == channels[0].seqs[-1], 5)
    assert [event for socket in sockets for event, _ in socket.events] == ["open", "open"]
    await _answered(rest, alice)


async def test_postgres_held_still_for_a_while(
    broken: Stack, phoenix: Phoenix, rest: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    await rest.send(key, alice, "first")
    channels = [await (await phoenix.connect(url, participant_id=bob)).join(topic) for url in broken.web]
    async with Traffic(rest, key, alice) as traffic:
        await traffic.more(100)
        with broken.frozen("postgres"):
            await _until_unready(rest)
            before = len(traffic.acknowledged)
            with pytest.raises(TimeoutError):
                await traffic.more(1, within=2)
            assert len(traffic.acknowledged) == before
        await traffic.more(100, within=BACK)
        await traffic.stop()
    assert set(traffic.refusals) <= CLEAR
    assert traffic.lost == []
    await _all_is_well(rest, key, channels, traffic)
    await _answered(rest, alice)


async def test_a_replay_that_postgres_interrupts_is_not_left_hanging(
    broken: Stack, rest: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    total = 700
    for _ in range(total // 50):
        await asyncio.gather(*(rest.send(key, alice, "x" * 8_000, web=one % 2) for one in range(50)))
    line = Sleeper(broken.web[0], bob)
    try:
        line.send(["1", "1", topic, "phx_join", {"after": 0}])
        seqs = _seqs_of(await asyncio.to_thread(line.frame))
        broken.kill("postgres", signal.SIGQUIT)
        broken.wait("postgres")
        reading = asyncio.create_task(asyncio.to_thread(_read_until, line, seqs, total))
        await _refused_clearly(rest, "GET", f"inbox/{bob}")
        broken.restart("postgres")
        ended = await reading
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) > 0
        # All of it, or an end that tells the client to join again.
        assert ended in {"all", "phx_error", "closed"}
    finally:
        line.close()


async def _unavailable(channel: Channel) -> None:
    with pytest.raises(PushFailed) as failure:
        await channel.send("into the void")
    assert failure.value.code == "unavailable"


async def _refused_clearly(rest: Api, method: str, path: str, body: object = None, web: int = 0) -> None:
    began = time.monotonic()
    with pytest.raises(Refused) as refusal:
        await rest.call(method, path, body, web=web)
    assert (refusal.value.status, refusal.value.code) in CLEAR
    assert time.monotonic() - began < 8


async def test_a_process_that_is_told_to_stop_meanwhile_ends_in_time(
    broken: Stack, phoenix: Phoenix, rest: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    await rest.send(key, alice, "first")
    socket = await phoenix.connect(broken.web[0], participant_id=bob)
    await socket.join(f"conversation:{key}")
    with broken.frozen("postgres"):
        waiting = asyncio.create_task(rest.send(key, alice, "anyone?"))
        await _until_unready(rest)
        assert not waiting.done()
        began = time.monotonic()
        broken.kill("web0", signal.SIGTERM)
        code = await asyncio.to_thread(broken.wait, "web0", 30)
        took = time.monotonic() - began
        with pytest.raises((Refused, aiohttp.ClientError)):
            await waiting
    assert (await socket.event("close"))["code"] == 1012
    assert took < 10
    assert code == 1  # it could not finish its work, and says so


async def _until_unready(rest: Api) -> None:
    """Wait until the process says so; it looks once a second."""
    async with asyncio.timeout(8):
        while await rest.health() != (503, "unavailable"):  # noqa: ASYNC110  # there is nothing else to await
            await asyncio.sleep(0.1)


async def _until_stored(rest: Api, key: str, web: int) -> dict[str, object]:
    """Send as a client does: again, as long as the answer is to try again."""
    async with asyncio.timeout(BACK):
        while True:
            try:
                return await rest.send(key, key.partition(":")[0], "again", client_id=f"again-{web}", web=web)
            except Refused as refusal:
                if (refusal.status, refusal.code) not in CLEAR:
                    raise
                await asyncio.sleep(0.2)


async def _all_is_well(rest: Api, key: str, channels: list[Channel], traffic: Traffic) -> None:
    """What was acknowledged is stored where it was said to be, and every socket has seen all of it, in order."""
    last = await rest.send(key, key.partition(":")[0], "the end", web=1)
    log = await rest.log(key)
    stored = {message["client_id"]: message["seq"] for message in log}
    assert [message["seq"] for message in log] == list(range(1, last["seq"] + 1))
    assert traffic.acknowledged == {client_id: stored.get(client_id) for client_id in traffic.acknowledged}
    for channel in channels:
        await channel.seq(last["seq"], 5)
        assert channel.seqs == list(range(channel.seqs[0], last["seq"] + 1))


async def _answered(rest: Api, participant: str) -> None:
    """The dispatcher works."""
    key = f"{participant}:echo-bot"
    await rest.send(key, participant, "anyone?")
    page = await rest.call("GET", f"conversations/{key}/messages?after=1&wait=15")
    assert [message["text"] for message in page["messages"]] == ["You said: anyone?"]


def _last_seq(inbox: Channel) -> int:
    ticks = inbox.payloads("tick")
    return int(ticks[-1]["updates"][0]["last_message"]["seq"]) if ticks and ticks[-1]["updates"] else 0


def _seqs_of(frame: object) -> list[int]:
    assert isinstance(frame, list)
    return [message["seq"] for message in frame[4]["response"]["messages"]]


def _read_until(line: Sleeper, seqs: list[int], total: int) -> str:
    """Note the seqs that come, to the last or to an end."""
    while seqs[-1] < total:
        try:
            frame = line.frame()
        except TimeoutError:
            return "hanging"
        if not isinstance(frame, list):
            return "closed"
        if frame[3] in {"phx_error", "phx_close"}:
            return str(frame[3])
        if frame[3] == "message":
            seqs.append(frame[4]["seq"])
    return "all"
