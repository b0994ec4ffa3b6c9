"""Searches of one process: each looks at a bounded number of messages for a bounded time, and says where to go on.

Appends come first: few searches run at once, and between two steps each gives its connection back.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import psycopg

from conversations import search
from conversations.append import Message
from conversations.connection import Runner
from conversations.errors import Overloaded
from conversations.search import Place
from runtime.database import Pool

AT_ONCE: Final = 2
"""Searches of one process that run at a time; the others wait."""

PATIENCE: Final = 5.0
"""Seconds that a search waits for its turn."""

ENOUGH_SECONDS: Final = 1.0
"""Seconds after which a search takes no further step."""

STEP: Final = 1_000
"""Messages that are looked at in one statement."""

STEP_TIMEOUT: Final = "2s"
"""For which that statement may take."""

NEWEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Scope:
    """What is searched: one conversation, or those of a participant, of which `keys` may name the only ones."""

    conversation: tuple[int, int] | None = None
    """(id, last seq)"""
    participant_id: str = ""
    keys: Iterable[str] | None = None


@dataclass(slots=True)
class Found:
    """Messages, newest conversation first and newest message first; `rest` is None at the end of everything.

    `cost` is what was paid of the messages that may be looked at: a conversation without any costs one.
    """

    messages: list[Message] = field(default_factory=list)
    rest: Place | None = None
    examined: int = 0
    cost: int = 0


class Searches:
    """The searches of one process."""

    def __init__(self, pool: Pool, most: int) -> None:
        """`most` messages are looked at for one request."""
        self._pool = pool
        self._most = most
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def find(self, scope: Scope, words: list[str], place: Place | None, limit: int) -> Found:
        """Up to `limit` messages that match these patterns, from this place on.

        There may be more though fewer than `limit` were found: as long as there is a `rest`. Raises `Overloaded` if its turn
        does not come, or if Postgres does not get on.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded("Too many searches run; try again shortly.", retry_after=5) from None
        try:
            return await self._find(scope, words, Found(rest=place), limit)
        finally:
            self._turns.release()

    async def _find(self, scope: Scope, words: list[str], found: Found, limit: int) -> Found:
        clock = asyncio.get_running_loop().time
        enough = clock() + ENOUGH_SECONDS
        left = self._most
        while left > 0 and clock() < enough:
            try:
                step = await self._step(
                    scope, words, found.rest, min(STEP, left), limit - len(found.messages)
                )
            except psycopg.errors.QueryCanceled:
                if found.examined:
                    break
                raise Overloaded("The search took too long; try again shortly.", retry_after=5) from None
            found.messages += step.messages
            found.examined += step.examined
            found.rest = step.rest
            left -= step.cost
            if step.rest is None or len(found.messages) == limit:
                break
        return found

    async def _step(
        self, scope: Scope, words: list[str], place: Place | None, most: int, limit: int
    ) -> Found:
        async with self._pool.connection() as connection, connection.atomic() as transaction:
            await transaction.run(search.SET_TIMEOUT(STEP_TIMEOUT))
            heads = await _heads(transaction, scope, place, most)
            looked_at = list(search.ranges(heads, place, most))
            if not looked_at:
                return Found()
            matches = await search.matching(transaction, looked_at, words, limit)
        if len(matches) == limit:
            last = matches[-1]
            return Found(matches, Place(last.conversation_id, last.seq), search.examined(looked_at, last))
        is_last = len(looked_at) == len(heads) and (len(heads) < most or scope.conversation is not None)
        is_end = is_last and looked_at[-1].is_whole
        rest = None if is_end else looked_at[-1].rest
        return Found(matches, rest, search.examined(looked_at, None), sum(one.cost for one in looked_at))


async def _heads(runner: Runner, scope: Scope, place: Place | None, limit: int) -> list[tuple[int, int]]:
    if scope.conversation is not None:
        return [scope.conversation]
    up_to_id = NEWEST if place is None else place.conversation_id
    return await search.conversations_of(runner, scope.participant_id, scope.keys, up_to_id, limit)
