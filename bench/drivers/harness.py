"""The life of a driver: plan in, marks while it lasts, result out.

A driver writes `opens` and `closes` to standard output when what counts begins and ends, with the CPU seconds that it has
used until then, so that whoever started it can tell who was busy in between. Its last line is the result.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from time import perf_counter, process_time
from typing import Any

import orjson
import uvloop

Plan = dict[str, Any]
Result = dict[str, Any]
Acknowledged = tuple[str, int, str]
"""Key, seq and id of a message."""


def drive(main: Callable[[Plan], Coroutine[Any, Any, Result]]) -> None:
    """Run a driver's coroutine on the plan of standard input; its result goes to standard output."""
    plan = orjson.loads(sys.stdin.buffer.read())
    result = uvloop.run(main(plan))
    # Not `sys.stdout`: where Python is told not to buffer it, a large write may be a partial one.
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(orjson.dumps(result))


def mark(name: str) -> None:
    """Tell that what counts `opens` or `closes`."""
    sys.stdout.buffer.write(f"{name} {process_time()}\n".encode())
    sys.stdout.buffer.flush()


class Window:
    """Counts what happens between the end of the warm-up and the end of the run."""

    def __init__(self, plan: Plan) -> None:
        self.opens = perf_counter() + plan["warm_up"]
        self.closes = self.opens + plan["seconds"]
        self.seconds: float = plan["seconds"]
        self.count = 0

    def note(self, events: int = 1) -> float:
        """Count events if now is in the window; returns the time."""
        now = perf_counter()
        if self.opens <= now < self.closes:
            self.count += events
        return now

    def per_second(self) -> float:
        """Events of the window, by its length."""
        return self.count / self.seconds

    async def wait(self) -> None:
        """Return when the window has closed."""
        await asyncio.sleep(max(self.opens - perf_counter(), 0))
        mark("opens")
        await asyncio.sleep(max(self.closes - perf_counter(), 0))
        mark("closes")


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which this share of the values lies; 0 without any."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


async def until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = perf_counter() + patience
    while not condition():
        if perf_counter() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def in_turns(work: Iterable[Awaitable[Any]], at_once: int) -> list[Any]:
    """What all of the work came to, in order, with only so much of it under way at once."""
    places = asyncio.Semaphore(at_once)

    async def one(job: Awaitable[Any]) -> Any:
        async with places:
            return await job

    return await asyncio.gather(*(one(job) for job in work))
