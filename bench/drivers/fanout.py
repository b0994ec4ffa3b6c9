"""One conversation, many sockets: as many deliveries as it can make, then a steady rate that it has to keep up.

Every byte that comes is kept and only looked through at the end. While the run lasts, whoever paces it looks now and then at
the newest seq of each socket, and some of the sockets note the age of every message.
"""

import asyncio
from time import perf_counter

from bench.drivers.audience import Listener, Reader, Speaker
from bench.drivers.harness import Plan, Result, drive, in_turns, mark, percentile, until
from bench.drivers.pacing import pace

TIMED_READERS = 10
"""Of so many sockets the age of every message is noted."""

CONNECT_AT_ONCE = 50
WINDOW_DELIVERIES = 12_800
"""So many may be under way at once while as many as possible are made; but four messages at least, and 64 at most."""

LOOK_SECONDS_PER_READER = 0.000_02
"""A look at all sockets takes a twentieth of this for each, so that looking costs the driver little."""

JOIN_SECONDS = 45
"""All sockets must be there by then."""

STEADY_SHARE = 0.8
GRACE_SECONDS = 0.25
"""What a steady rate's last deliveries may take."""


class Audience:
    """The sockets that follow the conversation."""

    def __init__(self, listeners: list[Listener]) -> None:
        self.listeners = listeners
        self.pause = max(len(listeners) * LOOK_SECONDS_PER_READER, 0.002)

    def slowest(self) -> int:
        """The seq that every socket has."""
        return min(listener.look() for listener in self.listeners)

    def seen(self) -> int:
        """The seqs of all sockets together: it grows by one with each delivery."""
        return sum(listener.look() for listener in self.listeners)

    async def has(self, seq: int) -> None:
        """Return when every socket has this seq, or after 5 s; the check at the end finds out which."""
        await until(lambda: self.slowest() >= seq, 5)


async def _most(plan: Plan, speaker: Speaker, audience: Audience) -> float:
    """Deliveries per second when the next message waits until the slowest socket has the one `window` before it."""
    window = min(max(WINDOW_DELIVERIES // len(audience.listeners), 4), 64)
    opens = perf_counter() + plan["warm_up"]
    closes = opens + plan["seconds"]
    before = -1
    while (now := perf_counter()) < closes:
        if before < 0 and now >= opens:
            opens, before = now, audience.seen()
            mark("opens")
        for _ in range(audience.slowest() + window - speaker.sent):
            speaker.send(now)
        await asyncio.sleep(audience.pause)
    rate: float = (audience.seen() - before) / (perf_counter() - opens)
    mark("closes")
    await audience.has(speaker.sent)
    return rate


async def _steady(plan: Plan, speaker: Speaker, audience: Audience, rate: float) -> float:
    """Deliveries per second that arrived in time while `rate` messages a second were sent."""
    for listener in audience.listeners:
        listener.ages.clear()
    before = audience.seen()
    count: int = max(round(rate * plan["seconds"]), 1)
    await pace(rate, count, lambda _, due: speaker.send(due))
    await asyncio.sleep(GRACE_SECONDS)
    delivered = audience.seen() - before
    await audience.has(speaker.sent)
    return delivered * rate / count


async def main(plan: Plan) -> Result:
    """Both, one after the other, then the check of every socket."""
    topic = f"conversation:{plan['key']}"
    sent_at: dict[int, float] = {}
    speaker = await Speaker.connect(plan["port"], plan["speaker"], plan, sent_at)
    every = max(len(plan["readers"]) // TIMED_READERS, 1)

    joined = 0

    async def follow(number: int, token: str) -> Listener:
        nonlocal joined
        reader = await Reader.connect(plan["port"], token)
        listener = await reader.follow(topic, sent_at if number % every == 0 else None)
        joined += 1
        return listener

    await speaker.follow(topic)
    following = (follow(number, token) for number, token in enumerate(plan["readers"]))
    try:
        async with asyncio.timeout(JOIN_SECONDS):
            audience = Audience(await in_turns(following, CONNECT_AT_ONCE))
    except TimeoutError:
        fault = f"{joined:,} of {len(plan['readers']):,} sockets could join within {JOIN_SECONDS} s"
        return {"most_per_second": 0, "kept_up_per_second": 0, "kept_up_p99_ms": 0, "faults": [fault]}
    most = await _most(plan, speaker, audience)
    kept_up = await _steady(plan, speaker, audience, most * STEADY_SHARE / len(audience.listeners))
    ages = [age for listener in audience.listeners for age in listener.ages]
    faults = speaker.faults + [
        fault for listener in audience.listeners for fault in listener.check(speaker.sent)
    ]
    speaker.close()
    for listener in audience.listeners:
        listener.close()
    return {
        "most_per_second": most,
        "kept_up_per_second": kept_up,
        "kept_up_p99_ms": percentile(ages, 0.99) * 1000,
        "acknowledged": speaker.acknowledged,
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
