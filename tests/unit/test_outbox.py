"""The way out of a socket: frames that any WebSocket client reads, and an end for those who do not read."""

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from fleetlm.sockets.outbox import Outbox, QueuedOutbox, websocket_text


def parse(data: bytes) -> list[Frame]:
    """What the `websockets` library reads out of these bytes."""
    reader, frames = StreamReader(), []
    reader.feed_data(data)
    reader.feed_eof()
    while reader.buffer:
        step = Frame.parse(reader.read_exact, mask=False)
        with pytest.raises(StopIteration) as stop:
            next(step)
        frames.append(stop.value.value)
    return frames


@given(st.binary(max_size=300))
@example(bytes(125))
@example(bytes(126))
@example(bytes(65_535))
@example(bytes(65_536))
@example(bytes(1 << 20))
def test_a_frame_is_what_the_standard_says(text: bytes) -> None:
    assert parse(websocket_text(text)) == [Frame(Opcode.TEXT, text, fin=True)]


@given(st.lists(st.text(max_size=200), max_size=5))
def test_frames_that_follow_each_other_are_told_apart(texts: list[str]) -> None:
    data = b"".join(websocket_text(text.encode()) for text in texts)
    assert [frame.data for frame in parse(data)] == [text.encode() for text in texts]


class Peer:
    """A transport whose other side takes nothing until it is told to."""

    def __init__(self) -> None:
        self.data = b""
        self.aborted = False
        self._taken = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data

    def unsent(self) -> int:
        return 0 if self._taken.is_set() else len(self.data)

    async def room(self) -> None:
        await self._taken.wait()

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> None:
        self._taken.set()


class TooSlow:
    """Counts how often a reader was called too slow."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def test_frames_are_written_at_once_and_as_they_are() -> None:
    peer, slow = Peer(), TooSlow()
    outbox = Outbox(peer, 1_000, slow)
    outbox.write(outbox.frame(b"one"))
    outbox.write(outbox.frame(b"two"))
    assert [frame.data for frame in parse(peer.data)] == [b"one", b"two"]
    assert slow.times == 0


async def test_a_reader_that_falls_behind_is_told_of_once_and_written_to_no_more() -> None:
    peer, slow = Peer(), TooSlow()
    outbox = Outbox(peer, 100, slow)
    for _ in range(10):
        outbox.write(bytes(40))
    assert slow.times == 1
    assert len(peer.data) == 120
    await asyncio.wait_for(outbox.drained(), 1)


async def test_a_replay_waits_for_room() -> None:
    peer = Peer()
    outbox = Outbox(peer, 100, TooSlow())
    outbox.write(bytes(10))
    waiting = asyncio.create_task(outbox.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    peer.take()
    await asyncio.wait_for(waiting, 1)


async def test_a_stopped_outbox_writes_nothing() -> None:
    peer = Peer()
    outbox = Outbox(peer, 100, TooSlow())
    outbox.stop()
    outbox.write(b"late")
    assert peer.data == b""


class Server:
    """The `send` of an ASGI server that takes an event when it is told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, event: dict[str, Any]) -> None:
        await self.open.wait()
        self.events.append(event)

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.events]


async def test_queued_frames_arrive_in_order() -> None:
    server, slow = Server(), TooSlow()
    outbox = QueuedOutbox(server.send, 1_000, slow)
    for number in range(5):
        outbox.write(outbox.frame(str(number).encode()))
    await asyncio.wait_for(outbox.drained(), 1)
    outbox.write(outbox.frame("é".encode()))
    await asyncio.wait_for(outbox.drained(), 1)
    assert server.texts == ["0", "1", "2", "3", "4", "é"]
    assert server.events[0] == {"type": "websocket.send", "text": "0"}
    assert slow.times == 0


async def test_a_queue_has_an_end() -> None:
    server, slow = Server(), TooSlow()
    server.open.clear()
    outbox = QueuedOutbox(server.send, 100, slow)
    for _ in range(10):
        outbox.write("x" * 40)
    assert slow.times == 1
    await asyncio.wait_for(outbox.drained(), 1)
    server.open.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(server.texts) <= 1, "at most what was under way when it was stopped"


async def test_what_was_taken_makes_room_for_more() -> None:
    server, slow = Server(), TooSlow()
    outbox = QueuedOutbox(server.send, 100, slow)
    for _ in range(20):
        outbox.write("x" * 40)
        await outbox.drained()
    assert len(server.texts) == 20
    assert slow.times == 0
