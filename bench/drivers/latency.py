"""From one member's send to the other member's socket, at a fixed rate, whatever the server does (open loop).

A message carries the time at which it was meant to be sent: a sender that comes late makes the latency longer, not the load
smaller.
"""

import asyncio
from time import perf_counter
from typing import Any

from bench.drivers.harness import Acknowledged, Plan, Result, drive, mark, percentile, until
from bench.drivers.pacing import pace
from bench.drivers.websocket import Socket, send_frame


class Member(Socket):
    """Sends, or notes how old a message is when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[Acknowledged] = []
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


async def _connect(plan: Plan) -> list[tuple[str, Member, Member]]:
    pairs = []
    for pair in plan["pairs"]:
        sender, reader = [await Member.connect(plan["port"], token) for token in pair["tokens"]]
        topic = f"conversation:{pair['key']}"
        for member in (sender, reader):
            await member.join(topic)
        pairs.append((topic, sender, reader))
    return pairs


async def main(plan: Plan) -> Result:
    """Send at the planned rate, round robin over the pairs; latencies count from the end of the warm-up."""
    pairs = await _connect(plan)
    warm_up = round(plan["rate"] * plan["warm_up"])
    count = warm_up + round(plan["rate"] * plan["seconds"])
    counts_from = 0.0

    def send(number: int, due: float) -> None:
        nonlocal counts_from
        if number == warm_up:
            counts_from = due
            mark("opens")
        topic, sender, _ = pairs[number % len(pairs)]
        sender.send(number, topic, due, f"{plan['run']}-{number}")

    late = await pace(plan["rate"], count, send)
    mark("closes")
    await until(lambda: sum(len(reader.ages) for *_, reader in pairs) >= count, 5)
    await asyncio.sleep(0.05)  # anything that comes twice comes now
    everyone = [member for _, *members in pairs for member in members]
    faults = [fault for member in everyone for fault in member.faults]
    if sum(len(reader.ages) for *_, reader in pairs) != count:
        faults.append("not every message reached the other member's socket exactly once")
    for member in everyone:
        member.close()
    ages = [age for *_, reader in pairs for due, age in reader.ages if due >= counts_from]
    return {
        "p50_ms": percentile(ages, 0.5) * 1000,
        "p99_ms": percentile(ages, 0.99) * 1000,
        "late_p99_ms": percentile(late[warm_up:], 0.99) * 1000,
        "acknowledged": [entry for _, sender, _ in pairs for entry in sender.acknowledged],
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
