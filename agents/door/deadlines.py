"""Timeouts for many short waits. One timer serves all of them: a timer for each costs a tenth of an agent's call."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

TICK_SECONDS: Final = 0.05
"""How late a timeout may be."""


class Wait:
    """A block that `Deadlines` may end. What it does is what `asyncio.timeout` does, but for the shared timer."""

    __slots__ = ("_cancelling", "_expired", "_task", "_waits", "until")

    def __init__(self, waits: set["Wait"], task: asyncio.Task[Any], until: float) -> None:
        self.until = until
        self._waits = waits
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False

    def __enter__(self) -> Self:
        self._waits.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.discard(self)
        # Another cancellation of the task goes on as one.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """End the block."""
        self._waits.discard(self)
        self._expired = True
        self._task.cancel()


class Deadlines:
    """Ends blocks with `TimeoutError`. For one event loop."""

    def __init__(self) -> None:
        self._waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None

    def until(self, when: float) -> Wait:
        """A `with` block that must be over at this time of the event loop, or `TICK_SECONDS` later."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Deadlines are for tasks.")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        return Wait(self._waits, task, when)

    def close(self) -> None:
        """End no more blocks."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for wait in [wait for wait in self._waits if wait.until <= now]:
            wait.expire()
        self._timer = loop.call_later(TICK_SECONDS, self._tick) if self._waits else None
