"""What a subscriber has missed, written in portions: nothing is held while its connection is waited for."""

import asyncio
from typing import TYPE_CHECKING, Final

from runtime.outage import DATABASE_AWAY, Outage
from runtime.subscriber import Subscriber

if TYPE_CHECKING:
    from runtime.session import Session

PAGE: Final = 200
"""Messages fetched at a time, once it is known that they are small."""

FIRST: Final = 50

PORTION_BYTES: Final = 64 * 1024
"""Bytes after which the subscriber's connection is waited for."""


async def replay(session: "Session", subscriber: Subscriber, after: int) -> None:
    """Write everything after `after` to the subscriber; returns when nothing is left, or nobody who wants it."""
    position, limit = after, FIRST
    outage = Outage(f"a replay of {session.key}")
    while position < session.last_seq and subscriber in session.subscribers:
        try:
            last, limit = await _portion(session, subscriber, position, limit)
        except DATABASE_AWAY as error:
            await asyncio.sleep(outage.pause(error))
            continue
        if last == position:
            return
        position = last
        await subscriber.drained()


async def _portion(session: "Session", subscriber: Subscriber, after: int, limit: int) -> tuple[int, int]:
    """Write some of what comes after `after`; the last seq of it, and how many messages to ask for next time."""
    page = await session.read_after(after, session.last_seq, limit)
    last, unsent = after, 0
    for count, (seq, payload) in enumerate(page, 1):
        subscriber.write(subscriber.address.frame("message", payload, seq))
        last = seq
        unsent += len(payload)
        if unsent > PORTION_BYTES:
            return last, count
    return last, min(2 * limit, PAGE)
