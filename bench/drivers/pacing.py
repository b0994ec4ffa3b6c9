"""Fixed rates, whatever the server does: an open loop that knows how late it is itself."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from time import perf_counter

_NANOSECONDS = 1_000_000_000
_CLOCK_MONOTONIC = 1
_libc = ctypes.CDLL(None, use_errno=True)


async def pace(rate: float, count: int, send: Callable[[int, float], None]) -> list[float]:
    """Call `send(number, due)` so many times at this rate; returns by how many seconds each call came late.

    `due` is the intended time of each: whoever counts latencies from it hides no waiting, not even this loop's own.
    """
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    start = perf_counter() + 0.1
    late: list[float] = []

    def send_what_is_due() -> None:
        now = perf_counter()
        while len(late) < count and (due := start + len(late) / rate) <= now:
            late.append(now - due)
            send(len(late) - 1, due)
        if len(late) == count and not finished.done():
            finished.set_result(None)

    stop = _every(1 / rate, start, send_what_is_due)
    try:
        await finished
    finally:
        stop()
    return late


def _every(interval: float, start: float, tick: Callable[[], None]) -> Callable[[], None]:
    """Call `tick` every `interval` seconds from `start` (of `perf_counter`) on; returns what ends it."""
    loop = asyncio.get_running_loop()
    if not hasattr(_libc, "timerfd_create"):
        return _roughly_every(loop, tick)
    # timerfd_create(2): an event loop's own timers count in milliseconds, a thread's need the interpreter's lock.
    timer = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK)
    values = [
        part
        for seconds in (interval, start - perf_counter())
        for part in divmod(int(seconds * _NANOSECONDS), _NANOSECONDS)
    ]
    if timer < 0 or _libc.timerfd_settime(timer, 0, struct.pack("4q", *values), None) < 0:
        raise OSError(ctypes.get_errno(), "no timer for the open loop")

    def expired() -> None:
        os.read(timer, 8)
        tick()

    def stop() -> None:
        loop.remove_reader(timer)
        os.close(timer)

    loop.add_reader(timer, expired)
    return stop


def _roughly_every(loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> Callable[[], None]:
    """Every millisecond, where the system has no better timer."""
    handle: asyncio.TimerHandle

    def again() -> None:
        nonlocal handle
        handle = loop.call_later(0.001, again)
        tick()

    handle = loop.call_later(0.001, again)
    return lambda: handle.cancel()
