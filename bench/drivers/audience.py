"""Who takes part in a fan-out: one speaker, and readers so cheap that the driver is not what is measured."""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter
from typing import Any

from bench.drivers.harness import Acknowledged, Plan
from bench.drivers.websocket import Socket, send_frame

_SEQ = b'"seq":'
_MESSAGES = re.compile(rb'"message",\{"id":"[0-9a-f-]{36}","seq":(\d+),')


class Reader(Socket):
    """Joins, and then leaves the connection to a listener."""

    async def follow(self, topic: str, sent_at: dict[int, float] | None) -> "Listener":
        """Join the topic; from here on what comes is kept. With `sent_at`, the ages of messages are noted."""
        last_seq = await self.join(topic)
        listener = (
            Listener(self.transport, last_seq)
            if sent_at is None
            else Timed(self.transport, last_seq, sent_at)
        )
        # Both in one turn of the loop: what came before the reply has been looked at, what comes now is kept.
        if self.faults:
            listener.faults += self.faults
        if self.rest:
            listener.data_received(self.rest)
        for seq in range(last_seq + 1, self.seen[topic] + 1):
            listener.early.append(seq)
        self.transport.set_protocol(listener)
        return listener


class Listener(asyncio.BaseProtocol):
    """Keeps what comes."""

    data_received: Callable[[bytes], None]

    def __init__(self, transport: Any, last_seq: int) -> None:
        self.faults: list[str] = []
        self.ages: list[float] = []
        self.early: list[int] = []
        self._first = self._newest = last_seq
        self._transport = transport
        self._chunks: list[bytes] = []
        self._looked_at = 0
        self._closing = False
        # uvloop calls what it finds under this name: no Python code runs for a chunk.
        self.data_received = self._chunks.append

    def look(self) -> int:
        """The newest seq that has come. A number that is cut in two counts when its other half is there."""
        chunks = self._chunks
        if len(chunks) != self._looked_at:
            self._looked_at = len(chunks)
            newest = _newest_seq(chunks[-1]) or _newest_seq(b"".join(chunks[-2:]))
            self._newest = max(self._newest, newest)
        return self._newest

    def check(self, last: int) -> list[str]:
        """Whether every seq came, once, in order."""
        seqs = self.early + [int(seq) for seq in _MESSAGES.findall(b"".join(self._chunks))]
        wanted = range(self._first + 1, last + 1)
        if seqs == list(wanted):
            return self.faults
        return [*self.faults, f"a socket got {len(seqs)} of {len(wanted)} messages, or not in order"]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self.faults.append(f"the connection was lost: {exc}")

    def close(self) -> None:
        """Hang up."""
        self._closing = True
        self._transport.abort()


class Timed(Listener):
    """Notes how old each message is when it comes."""

    def __init__(self, transport: Any, last_seq: int, sent_at: dict[int, float]) -> None:
        super().__init__(transport, last_seq)
        self._sent_at = sent_at
        self.data_received = self._note

    def _note(self, data: bytes) -> None:
        self._chunks.append(data)
        before, newest = self._newest, self.look()
        now = perf_counter()
        self.ages += [now - self._sent_at.get(seq, now) for seq in range(before + 1, newest + 1)]


class Speaker(Socket):
    """Sends, and knows the seq that its next message will have: nobody else writes here."""

    def __init__(self, plan: Plan, sent_at: dict[int, float]) -> None:
        super().__init__()
        self.acknowledged: list[Acknowledged] = []
        self._plan = plan
        self._sent_at = sent_at

    async def follow(self, topic: str) -> None:
        """Join the topic."""
        self.topic = topic
        self.sent = await self.join(topic)

    def send(self, due: float) -> None:
        """Send one message that was due at this time."""
        self.sent += 1
        self._sent_at[self.sent] = due
        self.write(
            send_frame(str(self.sent), self.topic, self._plan["text"], f"{self._plan['run']}-{self.sent}")
        )

    def reply(self, ref: str, payload: Any) -> None:
        if payload["status"] != "ok":
            self.faults.append(str(payload["response"]))
            return
        response = payload["response"]
        self.acknowledged.append((self.topic.removeprefix("conversation:"), response["seq"], response["id"]))


def _newest_seq(data: bytes) -> int:
    place = data.rfind(_SEQ) + len(_SEQ)
    if place < len(_SEQ):
        return 0
    digits, comma, _ = data[place : place + 20].partition(b",")
    return int(digits) if comma and digits.isdigit() else 0
