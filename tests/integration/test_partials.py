"""What streamed runs have said, in Valkey: written twice without harm, read from any number on, kept no longer than needed."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from runtime.channel_layer import group_of
from runtime.embedded import valkey
from runtime.listener import Listener
from runtime.partials import KEPT_ENDED_SECONDS, KEPT_SECONDS, VALKEY_AWAY, Partials, Turn
from tests.integration.live import PATIENCE, until

CONVERSATION = 10**12
"""No conversation of any test."""


@pytest.fixture
def run_id() -> str:
    return str(uuid4())


def turn(run_id: str, first: int, *chunks: bytes, keep: int | None = KEPT_SECONDS, **frame: int) -> Turn:
    frames = [{"type": "run", **frame}] if frame else []
    return Turn(CONVERSATION, run_id, first, chunks, keep, frames)


async def seconds_left(run_id: str) -> int:
    client = get_channel_layer().client_of(group_of(CONVERSATION))
    return int(await client.ttl(f"fleetlm:run:{run_id}"))


async def test_what_is_written_is_read_from_any_number_on(run_id: str) -> None:
    partials = Partials()
    await partials.write([turn(run_id, 0, b'"zero"', b'"one"'), turn(run_id, 2, b"\x00\xff")])
    assert await partials.read(CONVERSATION, run_id) == [b'"zero"', b'"one"', b"\x00\xff"]
    assert await partials.read(CONVERSATION, run_id, 1) == [b'"one"', b"\x00\xff"]
    assert await partials.read(CONVERSATION, run_id, 3) == []
    assert await partials.read(CONVERSATION, str(uuid4())) == []


async def test_many_chunks_are_written_at_once(run_id: str) -> None:
    chunks = [b'{"type":"start"}'] * 10_000
    await Partials().write([turn(run_id, 0, *chunks)])
    assert await Partials().read(CONVERSATION, run_id) == chunks


async def test_a_write_that_is_done_twice_changes_nothing(run_id: str) -> None:
    partials = Partials()
    for _ in range(2):
        await partials.write([turn(run_id, 0, b"0", b"1")])
        await partials.write([turn(run_id, 1, b"1", b"2")])
    assert await partials.read(CONVERSATION, run_id) == [b"0", b"1", b"2"]


async def test_nothing_is_read_beyond_a_hole(run_id: str) -> None:
    partials = Partials()
    await partials.write([turn(run_id, 0, b"0"), turn(run_id, 2, b"2")])
    assert await partials.read(CONVERSATION, run_id) == [b"0"]
    assert await partials.read(CONVERSATION, run_id, 1) == []


async def test_a_partial_is_kept_for_a_while_and_shortly_when_its_run_has_ended(run_id: str) -> None:
    partials = Partials()
    await partials.write([turn(run_id, 0, b"0")])
    assert KEPT_SECONDS - 5 <= await seconds_left(run_id) <= KEPT_SECONDS
    await partials.write([turn(run_id, 1, b"1", keep=None)])
    assert await seconds_left(run_id) > KEPT_ENDED_SECONDS
    await partials.write([turn(run_id, 2, keep=KEPT_ENDED_SECONDS)])
    assert 0 < await seconds_left(run_id) <= KEPT_ENDED_SECONDS


async def test_a_frame_comes_after_its_chunks_are_kept(run_id: str) -> None:
    """Whoever hears that there are so many can read them."""
    partials, heard, followed = Partials(), list[int](), asyncio.Event()

    async def on_followed() -> None:
        followed.set()

    listener = Listener({"run": lambda message: heard.append(message["to"])})
    listener.start()
    listener.follow(group_of(CONVERSATION), on_followed)
    async with asyncio.timeout(2 * PATIENCE):
        await followed.wait()
    writing = asyncio.create_task(partials.write([turn(run_id, n, b"%d" % n, to=n + 1) for n in range(50)]))
    await until(lambda: heard)
    assert len(await partials.read(CONVERSATION, run_id)) >= heard[0]
    await writing
    await until(lambda: len(heard) == 50)
    assert heard == list(range(1, 51))
    await listener.stop()


async def test_without_valkey_it_says_so(tmp_path: Path, settings: Settings, run_id: str) -> None:
    engine = valkey.prepare(tmp_path / "valkey")
    layer = settings.CHANNEL_LAYERS["default"]
    hosts = [layer["CONFIG"]["hosts"][0] | {"address": engine.url}]
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": layer["CONFIG"] | {"hosts": hosts}}}
    partials = Partials()
    with pytest.raises(VALKEY_AWAY):
        await partials.write([turn(run_id, 0, b"0")])
    with pytest.raises(VALKEY_AWAY):
        await partials.read(CONVERSATION, run_id)
