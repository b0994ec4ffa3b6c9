"""From one member's send to the other member's socket, at a fixed rate, whatever the server does (open loop).

A message carries the time at which it was meant to be sent: a sender that comes late makes the latency longer, not the load
smaller.
"""

import asyncio
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

from bench.drivers.harness import Plan, Result, drive, percentile, until
from bench.drivers.websocket import Socket, send_frame


class Member(Socket):
    """Sends, or notes how old a message is when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[tuple[str, int, str]] = []
        self.ages: list[tuple[float, float]] = []
        self.topics: dict[str, str] = {}

    def send(self, number: int, topic: str, due: float, client_id: str) -> None:
        self.topics[str(number)] = topic
        self.write(send_frame(str(number), topic, repr(due), client_id))

    def message(self, topic: str, message: Any) -> None:
        due = float(message["text"])
        self.ages.append((due, perf_counter() - due))

    def reply(self, ref: str, payload: Any) -> None:
        if payload["status"] != "ok":
            self.faults.append(str(payload["response"]))
            return
        response = payload["response"]
        key = self.topics[ref].removeprefix("conversation:")
        self.acknowledged.append((key, response["seq"], response["id"]))


def _pace(start: float, rate: float, count: int, tick: Callable[[int, float], None]) -> None:
    """Call `tick` at each intended time. In a thread: an event loop's timers count in milliseconds."""
    for number in range(count):
        due = start + number / rate
        time.sleep(max(due - perf_counter(), 0))
        tick(number, due)


async def main(plan: Plan) -> Result:
    """Send at the planned rate, round robin over the pairs; latencies count from the end of the warm-up."""
    pairs: list[tuple[str, Member, Member]] = []
    for pair in plan["pairs"]:
        sender, reader = [await Member.connect(plan["port"], token) for token in pair["tokens"]]
        topic = f"conversation:{pair['key']}"
        for member in (sender, reader):
            await member.join(topic)
        pairs.append((topic, sender, reader))
    loop = asyncio.get_running_loop()
    count = round(plan["rate"] * (plan["warm_up"] + plan["seconds"]))
    start = perf_counter() + 0.1

    def send(number: int, due: float) -> None:
        topic, sender, _ = pairs[number % len(pairs)]
        sender.send(number, topic, due, f"{plan['run']}-{number}")

    def tick(number: int, due: float) -> None:
        loop.call_soon_threadsafe(send, number, due)

    await asyncio.to_thread(_pace, start, plan["rate"], count, tick)
    everyone = [member for _, *members in pairs for member in members]
    complete = await until(lambda: all(len(reader.ages) * len(pairs) >= count for *_, reader in pairs), 5)
    faults = [fault for member in everyone for fault in member.faults]
    if not complete or sum(len(reader.ages) for *_, reader in pairs) != count:
        faults.append("not every message reached the other member's socket exactly once")
    for member in everyone:
        member.close()
    measured_from = start + plan["warm_up"]
    ages = [age for *_, reader in pairs for due, age in reader.ages if due >= measured_from]
    return {
        "p50_ms": percentile(ages, 0.5) * 1000,
        "p99_ms": percentile(ages, 0.99) * 1000,
        "max_ms": max(ages, default=0.0) * 1000,
        "acknowledged": [entry for _, sender, _ in pairs for entry in sender.acknowledged],
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
