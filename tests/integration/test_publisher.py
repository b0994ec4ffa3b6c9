"""Frames for other processes: gathered, sent in the background, never in the way; and what happens without Valkey."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from prometheus_client import REGISTRY
from pytest_django import Settings

from runtime.embedded import valkey
from runtime.embedded.engine import Engine, running
from runtime.listener import Listener
from runtime.publisher import MAX_WAITING, Publisher
from tests.integration.live import PATIENCE, unique, until


class Heard:
    """What a listener was handed."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    @property
    def numbers(self) -> list[int]:
        return [message["number"] for message in self.messages]


@pytest.fixture
async def heard() -> Heard:
    return Heard()


@pytest.fixture
async def listener(heard: Heard) -> AsyncIterator[Listener]:
    listener = Listener({"test": heard.take})
    listener.start()
    yield listener
    await listener.stop()


async def follow(listener: Listener, group: str) -> None:
    """Return once the group is followed."""
    followed = asyncio.Event()

    async def on_followed() -> None:
        followed.set()

    listener.follow(group, on_followed)
    async with asyncio.timeout(2 * PATIENCE):
        await followed.wait()


@contextlib.asynccontextmanager
async def publishing(on_recovered: Callable[[], None] | None = None) -> AsyncIterator[Publisher]:
    publisher = Publisher(on_recovered)
    publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


def published(outcome: str) -> float:
    return REGISTRY.get_sample_value("fleetlm_publishes_total", {"outcome": outcome}) or 0.0


async def test_frames_arrive_in_order_and_once(listener: Listener, heard: Heard) -> None:
    group = unique("g")
    await follow(listener, group)
    async with publishing() as publisher:
        for number in range(500):
            publisher.send(group, {"type": "test", "number": number, "entries": [(1, b"\x00\xff")]})
        await until(lambda: len(heard.messages) == 500)
    assert heard.numbers == list(range(500))
    assert heard.messages[0]["entries"] == [[1, b"\x00\xff"]], "bytes stay bytes"


async def test_what_is_sent_in_one_turn_is_one_round_trip(listener: Listener, heard: Heard) -> None:
    groups = [unique("g") for _ in range(3)]
    for group in groups:
        await follow(listener, group)
    client = get_channel_layer()._get_layer()._shards[0]
    async with publishing() as publisher:
        publisher.send(groups[0], {"type": "test", "number": 0})
        await until(lambda: heard.messages)
        before = await commands(client)
        for number in range(1, 301):
            publisher.send(groups[number % 3], {"type": "test", "number": number})
        await until(lambda: len(heard.messages) == 301)
        after = await commands(client)
    assert after["publish"] - before["publish"] == 300
    assert after["read"] - before["read"] <= 40, "far fewer reads of its socket than commands"


async def commands(client: Any) -> dict[str, int]:
    """How many PUBLISH commands Valkey has served, and how many reads of its sockets that took."""
    stats = await client._redis.info("all")
    return {
        "publish": stats["cmdstat_publish"]["calls"],
        "read": stats["total_reads_processed"],
    }


async def test_only_those_who_follow_a_group_hear_of_it(listener: Listener, heard: Heard) -> None:
    mine, other = unique("g"), unique("g")
    await follow(listener, mine)
    async with publishing() as publisher:
        publisher.send(other, {"type": "test", "number": 1})
        publisher.send(mine, {"type": "test", "number": 2})
        await until(lambda: heard.messages)
        listener.unfollow(mine)
        third = unique("g")
        await follow(listener, third)  # groups are left before others are followed
        publisher.send(mine, {"type": "test", "number": 3})
        publisher.send(third, {"type": "test", "number": 4})
        await until(lambda: len(heard.messages) == 2)
    assert heard.numbers == [2, 4]


async def test_a_frame_that_cannot_be_handled_deafens_nobody(listener: Listener, heard: Heard) -> None:
    group = unique("g")
    await follow(listener, group)
    async with publishing() as publisher:
        publisher.send(group, {"type": "of a later version"})
        publisher.send(group, {"no": "type"})
        publisher.send(group, {"type": "test", "number": 1})
        await until(lambda: heard.messages)
    assert heard.numbers == [1]


async def test_a_frame_that_cannot_be_written_mutes_nobody(listener: Listener, heard: Heard) -> None:
    """It is lost with those of its turn, which repair brings; what comes later is sent."""
    group = unique("g")
    await follow(listener, group)
    before = published("failed")
    async with publishing() as publisher:
        publisher.send(group, {"type": "test", "number": object()})
        await until(lambda: published("failed") > before)
        publisher.send(group, {"type": "test", "number": 1})
        await until(lambda: heard.messages)
    assert heard.numbers == [1]


async def test_what_waits_is_bounded() -> None:
    publisher = Publisher()
    before = published("dropped")
    for number in range(MAX_WAITING + 5):
        publisher.send("nobody", {"type": "test", "number": number})
    assert published("dropped") == before + 5
    await publisher.stop()


async def test_stop_sends_what_waits(listener: Listener, heard: Heard) -> None:
    group = unique("g")
    await follow(listener, group)
    async with publishing() as publisher:
        await asyncio.sleep(0)
        publisher.send(group, {"type": "test", "number": 1})
    await until(lambda: heard.messages)
    assert heard.numbers == [1]


@pytest.fixture
def other_valkey(tmp_path: Path, settings: Settings) -> Engine:
    """A Valkey of this test's own, which is not running yet, and a channel layer that leads there."""
    engine = valkey.prepare(tmp_path / "valkey")
    layer = settings.CHANNEL_LAYERS["default"]
    hosts = [layer["CONFIG"]["hosts"][0] | {"address": engine.url}]
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": layer["CONFIG"] | {"hosts": hosts}}}
    return engine


async def test_valkey_may_come_late_go_and_return(other_valkey: Engine, heard: Heard) -> None:
    recovered = 0

    def on_recovered() -> None:
        nonlocal recovered
        recovered += 1

    listener, group = Listener({"test": heard.take}), unique("g")
    listener.start()
    listener.follow(group)
    async with publishing(on_recovered) as publisher:

        async def send_until(condition: Callable[[], object]) -> None:
            async with asyncio.timeout(2 * PATIENCE):
                while not condition():
                    publisher.send(group, {"type": "test", "number": recovered})
                    await asyncio.sleep(0.02)

        before = published("failed")
        await send_until(lambda: published("failed") > before)
        assert recovered == 0
        for times in (1, 2):
            with contextlib.ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, running(other_valkey))
                await send_until(lambda times=times: times in heard.numbers)
                assert recovered == times, "once for each outage"
                await asyncio.to_thread(stack.close)
            before = published("failed")
            await send_until(lambda before=before: published("failed") > before)
    await listener.stop()
