"""When to try again, and how the same thing is known again."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from .errors import FleetLMError

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """The intervals of a client, in seconds. The defaults fit a server with its defaults."""

    heartbeat: float = 30.0
    """Between two heartbeats of a socket."""
    reply: float = 10.0
    """A heartbeat, and any other question, is answered within this time, or the connection is taken for dead."""
    answer: float = 60.0
    """The same of `request()`, which may ask for what takes longer."""
    connect: float = 8.0
    """A connection is made within this time, or not at all."""
    silence: float = 40.0
    """An event stream on which nothing comes for so long is taken for dead; the server says something every 15 s."""
    backoff: float = 0.3
    """The first pause before another try; it doubles with each."""
    backoff_max: float = 10.0
    socket_retry: float = 30.0
    """While sockets are blocked, one is tried after this time, then after twice that, up to 16 times."""

    def pause(self, failures: int, chance: float | None = None) -> float:
        """Seconds to wait after so many failures in a row; see `backoff`."""
        return backoff(failures, first=self.backoff, longest=self.backoff_max, chance=chance)


def backoff(
    failures: int, *, first: float = 0.3, longest: float = 10.0, chance: float | None = None
) -> float:
    """Seconds to wait after so many failures (1, 2, …): doubling up to `longest`, spread by `chance` (0 to 1) over its
    upper half, so that not all clients come back at once."""
    if failures <= 0:
        return 0.0
    ceiling: float = min(longest, first * 2 ** min(failures - 1, 30))
    return ceiling * (0.5 + (random.random() if chance is None else chance) / 2)  # noqa: S311  # no secret


def new_client_id() -> str:
    """A `client_id`, or an idempotency key: what is sent again with the same one is stored once."""
    return str(uuid.uuid4())


async def patiently(
    work: Callable[[], Awaitable[T]],
    timing: Timing,
    retry_for: float | None,
    may_repeat: Callable[[FleetLMError], bool] = lambda error: error.passing,
) -> T:
    """Do it again, with pauses, until it succeeds, or until `retry_for` seconds are over (None: for ever). Raises the last
    `FleetLMError`."""
    began, failures = time.monotonic(), 0
    while True:
        try:
            return await work()
        except FleetLMError as error:
            failures += 1
            pause = max(timing.pause(failures), error.retry_after or 0)
            late = retry_for is not None and time.monotonic() + pause - began > retry_for
            if late or not may_repeat(error):
                raise
        await anyio.sleep(pause)
