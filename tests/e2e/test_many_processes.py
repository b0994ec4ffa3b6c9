"""Two web processes behind one port: what one of them does, those who follow in the other see; and one may die."""

import asyncio
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psutil
import pytest
import redis

from tests.e2e.raw_socket import RawSocket, raw_socket
from tests.e2e.stack import START_SECONDS, Stack, plain_stack

SECONDS = 15.0
TRIES = 40
"""Connections after which chance should have led to both processes: 1 in 2⁴⁰ that it has not."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with plain_stack(WEB_CONCURRENCY="2") as running:
        yield running


@pytest.fixture
async def workers(stack: Stack) -> list[int]:
    """The ids of the two processes, once both take connections."""
    await eventually(lambda: len(listening(stack)) == 2, START_SECONDS)
    return listening(stack)


def listening(stack: Stack) -> list[int]:
    root = stack.members["web0"].process
    assert root is not None
    return sorted(one.pid for one in psutil.Process(root.pid).children() if listens(one))


def listens(process: psutil.Process) -> bool:
    try:
        return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))
    except psutil.NoSuchProcess:
        return False


async def eventually(holds: Callable[[], object], within: float = SECONDS) -> None:
    """Return when this holds."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110  # there is no event of it
            await asyncio.sleep(0.05)


class People:
    """Sockets that are opened until they are where they should be."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack

    async def come(self, name: str, worker: int) -> RawSocket:
        """A socket of this participant in this process; the kernel chooses one, so it may take some tries."""
        for _ in range(TRIES):
            async with AsyncExitStack() as attempt:
                socket = await attempt.enter_async_context(raw_socket(self._url, participant_id=name))
                if worker == worker_of(socket, worker):
                    await self._stack.enter_async_context(attempt.pop_all())
                    return socket
        raise AssertionError(f"process {worker} gets no connections")


def worker_of(socket: RawSocket, candidate: int) -> int | None:
    """The candidate, if it holds the other end of this connection."""
    port = socket._connection.get_extra_info("sockname")[1]
    for one in psutil.Process(candidate).net_connections("tcp"):
        if one.raddr and one.raddr.port == port:
            return candidate
    return None


@pytest.fixture
async def people(stack: Stack) -> AsyncIterator[People]:
    async with AsyncExitStack() as sockets:
        yield People(stack.web[0], sockets)


@asynccontextmanager
async def visit(stack: Stack, name: str, worker: int) -> AsyncIterator[RawSocket]:
    """A socket in this process while the context lasts."""
    async with AsyncExitStack() as sockets:
        yield await People(stack.web[0], sockets).come(name, worker)


async def say(socket: RawSocket, topic: str, text: str) -> int:
    """Send a message; its seq."""
    reply = await socket.reply(await socket.send(topic, "send", {"text": text}, join_ref="join"))
    assert reply["status"] == "ok", reply
    seq: int = reply["response"]["seq"]
    return seq


def came(socket: RawSocket, event: str) -> list[Any]:
    """The payloads of these events."""
    return [frame[4] for frame in socket.payloads(event)]


def metric(stack: Stack, name: str) -> float:
    """The sum of a metric as whichever process is asked tells it."""
    with urllib.request.urlopen(f"{stack.web[0]}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{.*\}})? ", line))


def followed(stack: Stack) -> dict[bytes, int]:
    """In how many processes each live conversation is followed; Valkey sends what is published of it to no other."""
    client = redis.Redis.from_url(stack.environment["REDIS_URL"])
    groups = client.pubsub_channels("fleetlm__group__conversation.*")
    return dict(client.pubsub_numsub(*groups)) if groups else {}


async def test_what_one_process_does_the_other_shows(
    stack: Stack, workers: list[int], people: People, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    here, there = await people.come(alice, workers[0]), await people.come(bob, workers[1])
    for one in (here, there):
        assert (await one.join(topic))["status"] == "ok"
    assert (await there.join(f"inbox:{bob}", "inbox"))["status"] == "ok"
    # Presence: each sees the other.
    await here.until(lambda: any(bob in diff["joins"] for diff in came(here, "presence_diff")))
    await there.until(
        lambda: (
            any(alice in state for state in came(there, "presence_state"))
            or any(alice in diff["joins"] for diff in came(there, "presence_diff"))
        )
    )
    # The log, typing, the inbox, and reading on the way back.
    for number in range(20):
        await say(here, topic, f"message {number}")
    await there.until(lambda: [one["seq"] for one in came(there, "message")] == list(range(1, 21)))
    await here.send(topic, "typing", {"on": True}, join_ref="join")
    await there.until(lambda: {"participant_id": alice, "on": True} in came(there, "typing"))
    await there.until(
        lambda: any(entry["unread_count"] == 20 for tick in came(there, "tick") for entry in tick["updates"])
    )
    await there.send(topic, "read", {"seq": 20}, join_ref="join")
    await here.until(lambda: {"participant_id": bob, "seq": 20} in came(here, "read"))


async def test_one_resumes_in_another_process(
    stack: Stack, workers: list[int], people: People, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    here = await people.come(alice, workers[0])
    await here.join(topic)
    async with visit(stack, bob, workers[0]) as before:
        epoch = (await before.join(topic))["response"]["epoch"]
        await say(here, topic, "seen")
        await before.until(lambda: came(before, "message"))
    for number in range(3):
        await say(here, topic, f"missed {number}")
    again = await people.come(bob, workers[1])
    reply = (await again.join(topic, after=1, epoch=epoch))["response"]
    assert reply["recovered"] is True
    await say(here, topic, "live")
    got = lambda: [one["seq"] for one in [*reply["messages"], *came(again, "message")]]  # noqa: E731
    await again.until(lambda: len(got()) >= 4)
    assert got() == [2, 3, 4, 5]


async def test_a_process_is_told_of_what_it_follows_only(
    stack: Stack, workers: list[int], people: People, fresh: str
) -> None:
    others = followed(stack)
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"

    def processes() -> list[int]:
        return [count for group, count in followed(stack).items() if group not in others]

    await (await people.come(alice, workers[0])).join(topic)
    await eventually(lambda: processes() == [1])
    await (await people.come(bob, workers[1])).join(topic)
    await eventually(lambda: processes() == [2])


async def test_metrics_speak_for_both_and_outlive_one(
    stack: Stack, workers: list[int], people: People, fresh: str
) -> None:
    alice, bob, carol = f"alice-{fresh}", f"bob-{fresh}", f"carol-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    await eventually(lambda: metric(stack, "fleetlm_sockets_open") == 0)
    stored = metric(stack, "fleetlm_appends_total")
    here, there = await people.come(alice, workers[0]), await people.come(bob, workers[1])
    await people.come(carol, workers[1])
    for one in (here, there):
        await one.join(topic)
        await say(one, topic, "counted")
    await eventually(lambda: metric(stack, "fleetlm_appends_total") == stored + 2)
    await eventually(lambda: metric(stack, "fleetlm_sockets_open") == 3)
    await eventually(lambda: metric(stack, "fleetlm_topics_joined") == 2)
    psutil.Process(workers[1]).send_signal(signal.SIGKILL)
    await there.closed()
    await eventually(lambda: len(listening(stack)) == 2 and workers[1] not in listening(stack))
    # Its gauges have gone with it, what it had counted stays.
    await eventually(lambda: metric(stack, "fleetlm_sockets_open") == 1)
    await eventually(lambda: metric(stack, "fleetlm_topics_joined") == 1)
    assert metric(stack, "fleetlm_appends_total") == stored + 2
    # The others see it go, and everything goes on: with the new process too.
    await here.until(lambda: any(bob in diff["leaves"] for diff in came(here, "presence_diff")))
    back = await people.come(bob, next(one for one in listening(stack) if one != workers[0]))
    joined = (await back.join(topic, after=2))["response"]
    assert joined["recovered"] is True
    await say(here, topic, "to the new one")
    await back.until(lambda: [one["seq"] for one in came(back, "message")] == [3])
    assert metric(stack, "fleetlm_appends_total") == stored + 3
