"""Many sockets that do nothing: what they cost a server while they are idle, beat, are spoken to, and when they have gone.

The same crowd comes twice. What the second time takes beyond the first has not been given back.
"""

import asyncio
from time import perf_counter
from typing import Any

import orjson
import psutil

from bench.drivers.harness import Plan, Result, drive, percentile, until
from bench.drivers.websocket import Socket, send_frame

AT_ONCE = 50
QUIET_SECONDS = 3.0
"""After the last join, and after the last goodbye, before memory is looked at."""

PATIENCE = 20.0
HEARTBEAT = orjson.dumps([None, "beat", "phoenix", "heartbeat", {}])


class Visitor(Socket):
    """One of the crowd; `beats` counts answered heartbeats, `heard_at` is when a message came last."""

    def __init__(self) -> None:
        super().__init__()
        self.beats = 0
        self.sent = 0
        self.heard_at = 0.0

    def message(self, topic: str, message: Any) -> None:
        self.heard_at = perf_counter()

    def reply(self, ref: str, payload: Any) -> None:
        if payload["status"] != "ok":
            self.faults.append(str(payload["response"]))
        elif ref == "beat":
            self.beats += 1
        else:
            self.sent += 1


class Crowd:
    """Sockets of the plan's places: neighbours are the two members of one conversation."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._server = psutil.Process(plan["pid"])
        self._visitors: list[Visitor] = []

    @property
    def _rss(self) -> int:
        return int(self._server.memory_info().rss)

    async def cycle(self, number: int) -> dict[str, Any]:
        """Come, be idle, beat, speak, go; what it cost."""
        before, began = self._rss, perf_counter()
        await self._come()
        opened = perf_counter() - began
        await asyncio.sleep(QUIET_SECONDS)
        there = self._rss
        idle = await self._cpu_of(asyncio.sleep(self._plan["idle_seconds"]))
        beating = await self._cpu_of(self._beat())
        ages = await self._speak(number)
        faults = [fault for visitor in self._visitors for fault in visitor.faults]
        if any(visitor.beats != 1 for visitor in self._visitors):
            faults.append("not every heartbeat was answered")
        await self._go()
        return {
            "before": before,
            "there": there,
            "after": self._rss,
            "opened_per_second": len(self._plan["places"]) / opened,
            "idle_cpu": idle,
            "beating_cpu": beating,
            "heard_p50_ms": percentile(ages, 0.5) * 1000,
            "heard_most_ms": max(ages, default=0.0) * 1000,
            "faults": faults,
        }

    async def _come(self) -> None:
        doors = asyncio.Semaphore(AT_ONCE)

        async def come(token: str, key: str) -> Visitor:
            async with doors:
                visitor = await Visitor.connect(self._plan["port"], token)
                await visitor.join(f"conversation:{key}")
                return visitor

        self._visitors = await asyncio.gather(*(come(token, key) for token, key in self._plan["places"]))

    async def _cpu_of(self, doing: Any) -> float:
        """The server's share of a core while this lasts."""
        began, used = perf_counter(), sum(self._server.cpu_times()[:2])
        await doing
        return (sum(self._server.cpu_times()[:2]) - used) / (perf_counter() - began)

    async def _beat(self) -> None:
        """One heartbeat of each, evenly over the plan's seconds."""
        start, each = perf_counter(), self._plan["beat_seconds"] / len(self._visitors)
        for number, visitor in enumerate(self._visitors):
            if number % 10 == 0:
                await asyncio.sleep(max(start + number * each - perf_counter(), 0))
            visitor.write(HEARTBEAT)
        await until(lambda: all(visitor.beats for visitor in self._visitors), PATIENCE)

    async def _speak(self, cycle: int) -> list[float]:
        """One message in each of some conversations; seconds until the other member had it."""
        ages: list[float] = []
        step = max(len(self._visitors) // self._plan["messages"] // 2, 1) * 2
        for number in range(0, len(self._visitors) - 1, step):
            speaker, listener = self._visitors[number : number + 2]
            began, listener.heard_at = perf_counter(), 0.0
            topic = next(iter(speaker.seen))
            speaker.write(send_frame("said", topic, "still there?", f"crowd-{cycle}-{number}"))
            if await until(lambda one=listener: one.heard_at > 0, PATIENCE):  # type: ignore[misc]
                ages.append(listener.heard_at - began)
            else:
                listener.faults.append("a message did not come")
        return ages

    async def _go(self) -> None:
        for visitor in self._visitors:
            visitor.close()
        self._visitors = []
        await asyncio.sleep(self._plan["gone_seconds"])


async def main(plan: Plan) -> Result:
    """The planned number of cycles, one after the other."""
    crowd = Crowd(plan)
    cycles = [await crowd.cycle(number) for number in range(plan["cycles"])]
    faults = [fault for cycle in cycles for fault in cycle.pop("faults")]
    return {"cycles": cycles, "sockets": len(plan["places"]), "faults": faults[:10]}


if __name__ == "__main__":
    drive(main)
