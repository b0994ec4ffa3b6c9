"""The life of a driver: plan in, result out, with the CPU share that the driver itself took."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Any

import orjson
import uvloop

Plan = dict[str, Any]
Result = dict[str, Any]


def drive(main: Callable[[Plan], Awaitable[Result]]) -> None:
    """Run a driver's coroutine on the plan of standard input; its result goes to standard output."""
    plan = orjson.loads(sys.stdin.buffer.read())
    result = uvloop.run(_timed(main, plan))
    sys.stdout.buffer.write(orjson.dumps(result))


async def _timed(main: Callable[[Plan], Awaitable[Result]], plan: Plan) -> Result:
    began, cpu_began = perf_counter(), process_time()
    result = await main(plan)
    return result | {"driver_cpu": (process_time() - cpu_began) / (perf_counter() - began)}


class Window:
    """Counts what happens between the end of the warm-up and the end of the run."""

    def __init__(self, plan: Plan) -> None:
        self.opens = perf_counter() + plan["warm_up"]
        self.closes = self.opens + plan["seconds"]
        self.seconds: float = plan["seconds"]
        self.count = 0

    def note(self) -> float:
        """Count one event if it falls into the window; returns the time of it."""
        now = perf_counter()
        if self.opens <= now < self.closes:
            self.count += 1
        return now

    async def wait(self) -> None:
        """Return when the window has closed."""
        await asyncio.sleep(max(self.closes - perf_counter(), 0))


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies; 0 without any."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


async def until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = perf_counter() + patience
    while not condition():
        if perf_counter() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
