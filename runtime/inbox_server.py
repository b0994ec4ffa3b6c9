"""Live inboxes: changes are gathered per participant and go out as one `tick`, with one query for the whole process.

A tick shows what Postgres held when its query began. A subscriber takes part only in flushes that began after its snapshot
was written, and what an earlier one would have told it is looked at again: so a tick never takes a client back.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from inbox import queries, snapshot
from observability import metrics
from runtime.database import Pool
from runtime.inbox_hints import EVERYONE, InboxHints, group_of
from runtime.listener import Listener
from runtime.outage import DATABASE_AWAY
from runtime.publisher import Publisher
from runtime.subscriber import Subscriber
from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

OVERLAP_SECONDS = 5.0
"""How far back a repair looks beyond the last one: commits take time and clocks of processes differ."""

DIRECT_MEMBERS = 100
"""Up to so many members each one's group is told of a message; beyond it one hint goes to every process."""

HINTS_KEPT = 50_000
"""Conversations of which it is remembered what was hinted; what is forgotten is ticked once more by the next repair."""

DIRTY_LIMIT = 20_000
"""Entries that may wait for a tick one by one; who has more to come has the whole inbox looked at."""

FLUSH_ENTRIES = 2_000
"""Entries that are read at a time."""


class InboxServer:
    """The inboxes that are open in this process."""

    def __init__(self, pool: Pool, publisher: Publisher, listener: Listener, process: str) -> None:
        self._pool = pool
        self._hints = InboxHints(publisher, process)
        self._listener = listener
        self._process = process
        # By participant: each subscriber, and the flush after which it takes part; None while its snapshot is on its way.
        self._followers: defaultdict[str, dict[Subscriber, int | None]] = defaultdict(dict)
        self._dirty: set[tuple[str, int]] = set()
        self._stale: set[str] = set()  # participants of whom every entry may have changed
        self._large: set[int] = set()
        self._hinted: dict[int, int] = {}
        self._flushes = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to tick and to repair."""
        self._listener.follow(EVERYONE)
        self._tasks = [
            asyncio.create_task(self._flush_for_ever(), name="inbox-ticks"),
            asyncio.create_task(self._repair_for_ever(), name="inbox-repair"),
        ]

    async def stop(self) -> None:
        """Stop ticking."""
        await end_tasks(self._tasks)
        self._hints.stop()

    # Who follows.

    async def join(self, participant_id: str, subscriber: Subscriber) -> bytes:
        """Count a subscriber in and return the snapshot (a JSON array) that it starts from; then call `ready`."""
        if participant_id not in self._followers:
            self._listener.follow(group_of(participant_id))
        self._followers[participant_id][subscriber] = None
        try:
            return await self.snapshot(participant_id)
        except BaseException:
            self.leave(participant_id, subscriber)
            raise

    def ready(self, participant_id: str, subscriber: Subscriber) -> None:
        """The snapshot has been written: ticks may follow."""
        if subscriber in self._followers.get(participant_id, {}):
            self._followers[participant_id][subscriber] = self._flushes

    def leave(self, participant_id: str, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        followers = self._followers.get(participant_id, {})
        followers.pop(subscriber, None)
        if not followers and self._followers.pop(participant_id, None) is not None:
            self._listener.unfollow(group_of(participant_id))

    async def snapshot(self, participant_id: str) -> bytes:
        """The participant's inbox entries as a JSON array, newest first."""
        async with self._pool.connection() as connection:
            return await snapshot.snapshot(connection, participant_id, settings.FLEETLM.inbox_limit)

    # What has changed.

    def changed(self, conversation_id: int, participant_ids: Iterable[str], seq: int = 0) -> None:
        """Entries of these participants have changed: tick them here, and tell the other processes."""
        members = list(participant_ids)
        self._note(conversation_id, seq)
        if len(members) > DIRECT_MEMBERS:
            self._mark_large(conversation_id)
            self._hints.add_large(conversation_id, seq)
            return
        for participant_id in members:
            self._mark(participant_id, conversation_id)
        self._hints.add(members, conversation_id, seq)

    def receive(self, message: dict[str, Any]) -> None:
        """Take another process's hint."""
        if message["process"] == self._process or not self._followers:
            return
        if message["type"] == "inbox_large":
            self._note(message["conversation"], message["seq"])
            self._mark_large(message["conversation"])
            return
        for participant_id, conversation_id, seq in message["hints"]:
            self._note(conversation_id, seq)
            self._mark(participant_id, conversation_id)

    def refresh_all(self) -> None:
        """Hints may have been lost: look at every open inbox again."""
        self._hinted.clear()
        self._stale.update(self._followers)
        self._wake.set()

    def _note(self, conversation_id: int, seq: int) -> None:
        if not self._followers:
            return
        if len(self._hinted) >= HINTS_KEPT:
            self._hinted.clear()
        self._hinted[conversation_id] = max(seq, self._hinted.get(conversation_id, 0))

    def _mark(self, participant_id: str, conversation_id: int) -> None:
        if participant_id not in self._followers or participant_id in self._stale:
            return
        if len(self._dirty) < DIRTY_LIMIT:
            self._dirty.add((participant_id, conversation_id))
        else:
            self._stale.add(participant_id)
        self._wake.set()

    def _mark_large(self, conversation_id: int) -> None:
        if self._followers:
            self._large.add(conversation_id)
            self._wake.set()

    # In the background.

    async def _flush_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(settings.FLEETLM.inbox_tick)
            self._wake.clear()
            try:
                while await self._flush():
                    pass
            except DATABASE_AWAY as error:
                logger.warning("Inbox ticks wait for Postgres: %s", error)
                self._wake.set()
                await asyncio.sleep(1)
            except Exception:
                logger.exception("Inbox ticks could not be sent")

    async def _flush(self) -> bool:
        """Tick up to `FLUSH_ENTRIES` entries, or one whole inbox more; whether there may be others that wait."""
        self._flushes += 1
        flush = self._flushes
        dirty: set[tuple[str, int]] = set()
        try:
            async with self._pool.connection() as connection:
                await self._take(connection, dirty)
                entries = await queries.entries(connection, sorted(dirty)) if dirty else {}
                gone = {pair for pair in dirty if pair not in entries or entries[pair]["state"] == "archived"}
                keys = await queries.keys_of(connection, sorted({one for _, one in gone})) if gone else {}
        except DATABASE_AWAY:
            for pair in dirty:
                self._mark(*pair)
            raise
        ticks: defaultdict[str, dict[str, list[Any]]] = defaultdict(lambda: {"updates": [], "removed": []})
        for participant_id, conversation_id in dirty - gone:
            ticks[participant_id]["updates"].append(entries[participant_id, conversation_id])
        for participant_id, conversation_id in gone:
            if conversation_id in keys:
                ticks[participant_id]["removed"].append(keys[conversation_id])
        for participant_id, tick in ticks.items():
            self._tick(participant_id, tick, flush, dirty)
        return len(dirty) >= FLUSH_ENTRIES

    async def _take(self, connection: Any, dirty: set[tuple[str, int]]) -> None:
        """Move what is to be ticked now into `dirty`. What changes from here on is noted anew."""
        large, self._large = self._large, set()
        try:
            if large:
                followers = list(self._followers)
                for pair in await queries.memberships_among(connection, sorted(large), followers):
                    self._mark(*pair)
        except DATABASE_AWAY:
            self._large |= large
            raise
        dirty.update(islice(self._dirty, FLUSH_ENTRIES))
        self._dirty -= dirty
        while self._stale and len(dirty) < FLUSH_ENTRIES:
            await self._take_inbox(connection, self._stale.pop(), dirty)

    async def _take_inbox(self, connection: Any, participant_id: str, dirty: set[tuple[str, int]]) -> None:
        if participant_id not in self._followers:
            return
        try:
            current = await queries.versions(connection, participant_id, settings.FLEETLM.inbox_limit)
        except DATABASE_AWAY:
            self._stale.add(participant_id)
            raise
        dirty.update((participant_id, one) for one in current)

    def _tick(
        self, participant_id: str, tick: dict[str, Any], flush: int, dirty: set[tuple[str, int]]
    ) -> None:
        payload = orjson.dumps(tick)
        metrics.INBOX_TICKS.inc()
        for subscriber, after in list(self._followers.get(participant_id, {}).items()):
            if after is not None and flush > after:
                subscriber.write(subscriber.address.frame("tick", payload, None))
            else:
                self._dirty |= {pair for pair in dirty if pair[0] == participant_id}
                self._wake.set()

    async def _repair_for_ever(self) -> None:
        since = time.time()
        while True:
            await asyncio.sleep(settings.FLEETLM.repair_interval)
            now = time.time()
            try:
                await self._repair(since - OVERLAP_SECONDS)
                since = now
            except DATABASE_AWAY as error:
                logger.warning("Inbox repair waits for Postgres: %s", error)
            except Exception:
                logger.exception("Inboxes could not be repaired")

    async def _repair(self, since: float) -> None:
        """Tick what was written since then without a hint having come."""
        if not self._followers:
            self._hinted.clear()
            return
        async with self._pool.connection() as connection:
            recent = await queries.recent_conversations(connection, _uuid7_at(since))
            missed = [one for one, seq in recent.items() if seq > self._hinted.get(one, 0)]
            pairs = (
                await queries.memberships_among(connection, missed, list(self._followers)) if missed else []
            )
        self._hinted = {one: max(seq, self._hinted.get(one, 0)) for one, seq in recent.items()}
        for participant_id, conversation_id in pairs:
            self._mark(participant_id, conversation_id)


def _uuid7_at(seconds: float) -> UUID:
    """The smallest UUIDv7 of that time."""
    return UUID(int=int(seconds * 1_000) << 80)
