"""What is to be sent in one conversation: in order, one at a time, each until it is stored."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import CLOSED, INVALID_ANSWER, FleetLMError
from .records import Sent
from .retry import Timing
from .tasks import Tasks

Body = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Waiting:
    body: Body
    stored: asyncio.Future[Sent]
    since: float = field(default_factory=time.monotonic)

    def fail(self, error: FleetLMError) -> None:
        """Tell whoever still waits."""
        if not self.stored.done():
            self.stored.set_exception(error)


class Outbox:
    """The messages that wait. `deliver` tries one once; `pause` waits for so many seconds, or until it may work again."""

    def __init__(
        self,
        deliver: Callable[[Body], Awaitable[Sent]],
        pause: Callable[[float], Awaitable[None]],
        timing: Timing,
        retry_for: float | None,
        tasks: Tasks,
    ) -> None:
        self._deliver = deliver
        self._pause = pause
        self._timing = timing
        self._retry_for = retry_for
        self._tasks = tasks
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def send(self, body: Body) -> Sent:
        """Send it after what waits already; returns when it is stored. If it is cancelled before its turn, it is not sent."""
        waiting = _Waiting(body, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._sending is None or self._sending.done():
            self._sending = self._tasks.spawn(self._send_all(), "send")
        return await waiting.stored

    def close(self) -> None:
        """Nothing is sent any more."""
        for waiting in self._waiting:
            waiting.fail(FleetLMError(CLOSED, "This client was closed before it was stored."))

    async def _send_all(self) -> None:
        while self._waiting:
            await self._send(self._waiting[0])
            self._waiting.popleft()

    async def _send(self, waiting: _Waiting) -> None:
        """Try until it is stored, is refused, takes too long, or nobody wants it any more."""
        failures = 0
        while not waiting.stored.done():
            try:
                sent = await self._deliver(waiting.body)
            except FleetLMError as error:
                failures += 1
                pause = max(self._timing.pause(failures), error.retry_after or 0)
                if not error.passing or self._is_late(waiting, pause):
                    waiting.fail(error)
                    return
                await self._pause(pause)
            except Exception as error:  # noqa: BLE001  # whatever it is, he who waits is told
                failure = FleetLMError(INVALID_ANSWER, f"The server's answer is not understood: {error!r}")
                failure.__cause__ = error
                waiting.fail(failure)
            else:
                if not waiting.stored.done():
                    waiting.stored.set_result(sent)

    def _is_late(self, waiting: _Waiting, pause: float) -> bool:
        return self._retry_for is not None and time.monotonic() + pause - waiting.since > self._retry_for
