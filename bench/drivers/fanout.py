"""One conversation, many sockets: as many deliveries as it can make, then a steady rate that it has to keep up.

Every byte that comes is kept and only looked through at the end; while the run lasts each socket just notes the newest seq.
"""

import asyncio
import re
from time import perf_counter
from typing import Any

from bench.drivers.harness import Plan, Result, drive, percentile, until
from bench.drivers.websocket import Socket, send_frame

_SEQ = b'"seq":'
_MESSAGES = re.compile(rb'"message",\{"id":"[0-9a-f-]{36}","seq":(\d+),')

TIMED_READERS = 10
"""Of so many sockets the age of every message is noted."""

STEADY_SHARE = 0.8
GRACE_SECONDS = 0.25
"""What a steady rate's last deliveries may take."""


class Reader(Socket):
    """Keeps what comes after its join, and the newest seq of it."""

    def __init__(self, sent_at: dict[int, float] | None) -> None:
        super().__init__()
        self.newest = 0
        self.ages: list[float] = []
        self._sent_at = sent_at
        self._chunks: list[bytes] | None = None

    async def follow(self, topic: str) -> None:
        self.newest = self.first = await self.join(topic)
        self._chunks = []

    def take(self, data: bytes) -> None:
        if self._chunks is None:
            super().take(data)
            return
        self._chunks.append(data)
        place = data.rfind(_SEQ) + len(_SEQ)
        # A number that is cut in two reads as a smaller one: the next chunk puts it right.
        digits = data[place : place + 20].partition(b",")[0] if place >= len(_SEQ) else b""
        newest = int(digits) if digits.isdigit() else 0
        if newest > self.newest:
            if self._sent_at is not None:
                now = perf_counter()
                self.ages += [now - self._sent_at.get(seq, now) for seq in range(self.newest + 1, newest + 1)]
            self.newest = newest

    def check(self, last: int) -> list[str]:
        """Whether every seq came, once, in order."""
        seqs = [int(seq) for seq in _MESSAGES.findall(b"".join(self._chunks or []))]
        wanted = range(self.first + 1, last + 1)
        if seqs == list(wanted):
            return self.faults
        return [*self.faults, f"a socket got {len(seqs)} of {len(wanted)} messages, or not in order"]


class Speaker(Socket):
    """Sends, and knows the seq that its next message will have: nobody else writes here."""

    def __init__(self, plan: Plan, sent_at: dict[int, float]) -> None:
        super().__init__()
        self.acknowledged: list[tuple[str, int, str]] = []
        self._plan = plan
        self._sent_at = sent_at

    async def follow(self, topic: str) -> None:
        self.topic = topic
        self.sent = await self.join(topic)

    def send(self, count: int, due: float) -> None:
        for _ in range(count):
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


async def _most(plan: Plan, speaker: Speaker, readers: list[Reader]) -> float:
    """Deliveries per second when the next message waits until the slowest socket has the one `window` before it."""
    opens = perf_counter() + plan["warm_up"]
    closes = opens + plan["seconds"]
    before = -1
    while (now := perf_counter()) < closes:
        if before < 0 and now >= opens:
            opens, before = now, sum(reader.newest for reader in readers)
        room = min(reader.newest for reader in readers) + plan["window"] - speaker.sent
        if room > 0:
            speaker.send(room, now)
        await asyncio.sleep(0.001)
    return float((sum(reader.newest for reader in readers) - before) / (now - opens))


async def _steady(plan: Plan, speaker: Speaker, readers: list[Reader], rate: float) -> float:
    """Deliveries per second that arrived in time while `rate` messages a second were sent."""
    for reader in readers:
        reader.ages.clear()
    before, first, start = sum(reader.newest for reader in readers), speaker.sent, perf_counter()
    while (passed := perf_counter() - start) < plan["seconds"]:
        number = speaker.sent - first
        if number < int(passed * rate):
            speaker.send(1, start + number / rate)
        else:
            await asyncio.sleep(0.001)
    await asyncio.sleep(GRACE_SECONDS)
    return float((sum(reader.newest for reader in readers) - before) / plan["seconds"])


async def main(plan: Plan) -> Result:
    """Both, one after the other, then the check of every socket."""
    sent_at: dict[int, float] = {}
    topic = f"conversation:{plan['key']}"
    speaker = await Speaker.connect(plan["port"], plan["speaker"], plan, sent_at)
    readers = [
        await Reader.connect(
            plan["port"], token, sent_at if number % (len(plan["readers"]) // TIMED_READERS) == 0 else None
        )
        for number, token in enumerate(plan["readers"])
    ]
    await speaker.follow(topic)
    for reader in readers:
        await reader.follow(topic)
    most = await _most(plan, speaker, readers)
    rate = most * STEADY_SHARE / len(readers)
    await until(lambda: min(reader.newest for reader in readers) >= speaker.sent, 5)
    kept_up = await _steady(plan, speaker, readers, rate)
    await until(lambda: min(reader.newest for reader in readers) >= speaker.sent, 5)
    ages = [age for reader in readers for age in reader.ages]
    faults = speaker.faults + [fault for reader in readers for fault in reader.check(speaker.sent)]
    for one in (speaker, *readers):
        one.close()
    return {
        "most_per_second": most,
        "kept_up_per_second": kept_up,
        "kept_up_p99_ms": percentile(ages, 0.99) * 1000,
        "acknowledged": speaker.acknowledged,
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
