"""A reader that does not read is cut off, and nobody else notices."""

import asyncio
import time

import aiohttp

from tests.e2e.phoenix import Phoenix
from tests.e2e.raw_socket import Sleeper
from tests.e2e.rest import Api
from tests.e2e.stack import Stack

MIB = 1024 * 1024
TEXT = "x" * 32_000
MESSAGES = 350
"""11 MB: more than the kernel keeps for a connection."""


async def test_a_slow_reader_is_cut_off_and_harms_nobody(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key, topic = f"{alice}:{bob}", f"conversation:{alice}:{bob}"
    attentive = await (await phoenix.connect(stack.web[0], participant_id=alice)).join(topic)
    waking, sleeping = Sleeper(stack.web[0], bob), Sleeper(stack.web[0], bob)
    try:
        for one in (waking, sleeping):
            one.send(["1", "1", topic, "phx_join", {}])
            assert await asyncio.to_thread(_joins, one)
        before, closed = stack.resident_bytes("web0"), await _slow_readers_closed(stack)
        delays, most = [], 0
        for number in range(1, MESSAGES + 1):
            sent = time.monotonic()
            await api.send(key, alice, TEXT, web=number % 2)
            await attentive.seq(number, within=5)
            delays.append(time.monotonic() - sent)
            most = max(most, stack.resident_bytes("web0"))

        assert await _slow_readers_closed(stack) - closed == 2
        assert sorted(delays)[MESSAGES * 95 // 100] < 0.5
        assert attentive.seqs == list(range(1, MESSAGES + 1))
        # Two sockets of 1 MiB each, and what 11 MB of messages take on their way.
        assert most - before < 48 * MIB

        seqs, end = await asyncio.to_thread(_drain, waking)
        assert end in {4008, None}
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) < MESSAGES
        # This one never reads: the server does not wait for it.
        await _gone(stack)
    finally:
        waking.close()
        sleeping.close()


async def test_a_burst_is_no_reason_to_cut_off_one_who_reads(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str
) -> None:
    """1.7 MB of messages, committed together: more than may wait for one who does not read."""
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    reader = await (await phoenix.connect(stack.web[0], participant_id=bob)).join(f"conversation:{key}")
    closed = await _slow_readers_closed(stack)
    batch = {"messages": [{"sender_id": alice, "text": TEXT}] * 7}
    for _ in range(3):
        await asyncio.gather(
            *(api.call("POST", f"conversations/{key}/messages/batch", batch, web=0) for _ in range(8))
        )
    await reader.seq(3 * 8 * 7, within=10)
    assert reader.seqs == list(range(1, 3 * 8 * 7 + 1))
    assert await _slow_readers_closed(stack) == closed


def _joins(sleeper: Sleeper) -> bool:
    frame = sleeper.frame()
    return isinstance(frame, list) and frame[4]["status"] == "ok"


def _drain(sleeper: Sleeper) -> tuple[list[int], int | None]:
    seqs = []
    while isinstance(frame := sleeper.frame(), list):
        if frame[3] == "message":
            seqs.append(frame[4]["seq"])
    return seqs, frame


async def _slow_readers_closed(stack: Stack) -> float:
    return await _metric(stack, "slow_readers_closed")


async def _gone(stack: Stack) -> None:
    """Wait until only the attentive socket is open."""
    async with asyncio.timeout(15):
        while await _metric(stack, "sockets_open") > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # there is nothing to await: only the metrics tell


async def _metric(stack: Stack, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{stack.web[0]}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if name in line and not line.startswith("#"))
