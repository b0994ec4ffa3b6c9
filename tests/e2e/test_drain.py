"""SIGTERM under load: what was acknowledged is stored, sockets are closed with 1012, and the process ends in time."""

import asyncio
import contextlib
import signal
import time
from itertools import count

import aiohttp

from tests.e2e.phoenix import Phoenix
from tests.e2e.raw_socket import RawSocket, Sleeper, raw_socket
from tests.e2e.rest import Api, Refused
from tests.e2e.stack import Stack

ENOUGH = 300
SECONDS = 10.0


async def test_sigterm_under_load_loses_nothing_that_was_acknowledged(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    acknowledged: dict[str, int] = {}
    numbers = count()

    async def over_sockets(socket: RawSocket) -> None:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while socket.close_code is None:
                client_id = f"socket-{next(numbers)}"
                ref = await socket.send(
                    topic, "send", {"text": client_id, "client_id": client_id}, join_ref="join"
                )
                await socket.until(lambda ref=ref: socket.close_code or _answer(socket, ref))
                if (answer := _answer(socket, ref)) and answer["status"] == "ok":
                    acknowledged[client_id] = answer["response"]["seq"]

    async def over_rest() -> None:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, Refused):
            while True:
                client_id = f"rest-{next(numbers)}"
                message = await api.send(key, bob, client_id, client_id=client_id, web=0)
                acknowledged[client_id] = message["seq"]

    async with (
        raw_socket(stack.web[0], participant_id=alice) as first,
        raw_socket(stack.web[0], participant_id=bob) as second,
    ):
        client = await phoenix.connect(stack.web[0], participant_id=bob)
        listening = await (await phoenix.connect(stack.web[1], participant_id=alice)).join(topic)
        channel = await client.join(topic)
        await asyncio.gather(first.join(topic), second.join(topic))
        load = [asyncio.create_task(over_sockets(one)) for one in (first, second, first, second)]
        load += [asyncio.create_task(over_rest()) for _ in range(6)]
        await listening.until(lambda: len(acknowledged) > ENOUGH, 30)

        began = time.monotonic()
        stack.kill("web0", signal.SIGTERM)
        code = await asyncio.to_thread(stack.wait, "web0", SECONDS + 5)
        took = time.monotonic() - began
        await asyncio.gather(*load)

        assert (await client.event("close"))["code"] == 1012
        assert [await one.closed() for one in (first, second)] == [1012, 1012]
    assert code == 0
    assert took < SECONDS

    log = await api.log(key, web=1)
    assert [message["seq"] for message in log] == list(range(1, len(log) + 1))
    stored = {message["client_id"]: message["seq"] for message in log}
    assert len(stored) == len(log)
    assert acknowledged == {client_id: stored.get(client_id) for client_id in acknowledged}
    await listening.seq(log[-1]["seq"])
    assert listening.seqs == list(range(listening.seqs[0], len(log) + 1))

    # The client comes back elsewhere and misses nothing.
    await client.reconnect(stack.web[1])
    last = await api.send(key, alice, "after", web=1)
    await channel.seq(last["seq"])
    assert channel.seqs == list(range(channel.seqs[0], last["seq"] + 1))


async def test_sigterm_ends_long_polls_and_event_streams_in_order(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    await api.send(key, alice, "hello")
    poll = asyncio.create_task(api.call("GET", f"conversations/{key}/messages?after=1&wait=25"))
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.web[0]}/api/conversations/{key}/events") as events,
    ):
        await events.content.readuntil(b"\n\n")
        began = time.monotonic()
        stack.kill("web0", signal.SIGTERM)
        assert (await poll)["messages"] == []
        await events.content.read()
    assert await asyncio.to_thread(stack.wait, "web0", SECONDS) == 0
    assert time.monotonic() - began < SECONDS


async def test_readers_that_do_not_read_do_not_hold_the_process(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    await api.send(key, alice, "hello")
    socket = Sleeper(stack.web[0], alice)
    stream = Sleeper.of_events(f"{stack.web[0]}/api/conversations/{key}/events")
    try:
        socket.send(["1", "1", f"conversation:{key}", "phx_join", {}])
        assert await asyncio.to_thread(socket.frame)
        for _ in range(20):
            await asyncio.gather(*(api.send(key, alice, "x" * 32_000, web=1) for _ in range(20)))
        began = time.monotonic()
        stack.kill("web0", signal.SIGTERM)
        assert await asyncio.to_thread(stack.wait, "web0", SECONDS + 5) == 0
        assert time.monotonic() - began < SECONDS
    finally:
        socket.close()
        stream.close()


def _answer(socket: RawSocket, ref: str) -> dict[str, dict[str, int]] | None:
    return next(
        (frame[4] for frame in reversed(socket.frames) if frame[3] == "phx_reply" and frame[1] == ref), None
    )
