"""The hub of one live conversation in one process: the one place where its messages are put in order.

It hears of messages from the appender of its own process, from publishes of others and from Postgres; in whatever order and
however often they come, it hands each seq to its subscribers once, in order. A hole that does not close by itself is filled
from Postgres.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from agents import run_queries
from conversations import queries
from observability import metrics
from runtime.ahead import Ahead, Room
from runtime.database import Pool
from runtime.live_runs import LiveRuns
from runtime.outage import DATABASE_AWAY
from runtime.pages import encode
from runtime.partials import Partials
from runtime.presence import Presence, Refs
from runtime.replay import replay
from runtime.subscriber import Address, Subscriber
from runtime.tail import Tail, TailMemory
from runtime.typing_state import Typing

logger = logging.getLogger(__name__)

HOLE_PATIENCE = 0.02
"""Seconds that a hole may take to close by itself before it is filled from Postgres."""

PAGE = 200
"""Messages fetched at a time: at their largest still not more than 20 MB."""


class Session:
    """A conversation as this process follows it. All of its methods run on the loop; those that change it never await."""

    def __init__(
        self,
        pool: Pool,
        view: queries.View,
        *,
        announce: Callable[[str, Refs], None],
        tails: TailMemory | None = None,
        room: Room | None = None,
    ) -> None:
        """`announce` tells other processes of presences; `tails` and `room` bound what the sessions of a process hold."""
        config = settings.FLEETLM
        self.conversation_id = view.id
        self.key = view.key
        self.epoch: UUID = view.epoch
        self.kind = view.kind
        self.last_seq = view.last_seq
        self.version = view.version
        self.tail = Tail(config.session_tail_messages, config.session_tail_bytes, tails)
        self.presence = Presence(announce, self.event, limit=config.presence_limit)
        self.typing = Typing(self._typing_changed)
        self.subscribers: set[Subscriber] = set()
        self._live: defaultdict[Address, set[Subscriber]] = defaultdict(set)
        self._ahead = Ahead(room or Room())
        self._dropped = False  # something that came before its turn could not be kept
        self._wanted_version = view.version
        self._pool = pool
        self._catching_up: asyncio.Task[None] | None = None
        self.runs = LiveRuns(
            self._live,
            active=partial(_active_runs, pool, view.id),
            read=partial(Partials().read, view.id),
            typing=self.typing.set,
            may_push=lambda: self._wanted_version <= self.version,
        )

    # What comes in.

    def offer(self, version: int, entries: Iterable[tuple[int, bytes]]) -> None:
        """Take messages from anywhere: new ones, old ones, any order. `version` is the conversation's at their append."""
        for seq, payload in entries:
            if seq == self.last_seq + 1 and version <= self.version:
                self._ahead.take(seq)
                self._deliver(seq, payload)
            elif seq > self.last_seq and not self._ahead.keep(seq, version, payload):
                self._dropped = True
        self.note_version(version)
        self._advance()

    def note_version(self, version: int) -> None:
        """Members or state have changed: who is no member any more gets nothing after that."""
        if version > self._wanted_version:
            self._wanted_version = version
            self._catch_up(delay=0)

    def event(self, event: str, payload: Any) -> None:
        """Pass on something that is not of the log: `read`, `typing`, presence, runs."""
        self._push(event, orjson.dumps(payload), None)

    def _advance(self) -> None:
        while (version := self._ahead.version_of(self.last_seq + 1)) is not None:
            if version > self.version:
                return  # the members have to be looked at first; `_catch_up` is on its way
            payload = self._ahead.take(self.last_seq + 1)
            assert payload is not None  # noqa: S101  # for the type checker
            self._deliver(self.last_seq + 1, payload)
        if self._ahead or self._dropped:
            self._catch_up(delay=HOLE_PATIENCE)

    def _deliver(self, seq: int, payload: bytes) -> None:
        self.last_seq = seq
        if b'"kind":"redaction"' in payload:
            self.tail.clear()  # it blanks an earlier message, which the tail may hold as it was
        self.tail.append(seq, payload)
        self._push("message", payload, seq)

    def _push(self, event: str, payload: bytes, seq: int | None) -> None:
        count = 0
        for address, subscribers in self._live.items():
            frame = address.frame(event, payload, seq)
            for subscriber in subscribers:
                subscriber.write(frame)
            count += len(subscribers)
        if count:
            metrics.FRAMES_SENT.inc(count)

    # Catching up with Postgres.

    def _catch_up(self, delay: float) -> None:
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._catch_up_after(delay))

    async def _catch_up_after(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while self._behind():
            try:
                await self.check()
            except DATABASE_AWAY as error:
                logger.warning("Conversation %s waits for Postgres: %s", self.key, error)
                await asyncio.sleep(1)
            except Exception:
                logger.exception("Conversation %s could not be compared with Postgres", self.key)
                await asyncio.sleep(1)
            await asyncio.sleep(HOLE_PATIENCE)

    def _behind(self) -> bool:
        return self._wanted_version > self.version or self._dropped or bool(self._ahead)

    async def check(self) -> None:
        """Compare with Postgres and fetch what is missing. Raises `psycopg.OperationalError` if it cannot be asked."""
        dropped, self._dropped = self._dropped, False
        try:
            async with self._pool.connection() as connection:
                heads = await queries.heads(connection, [self.conversation_id])
            head = heads.get(self.conversation_id)
            if head is None or head[0] != self.epoch:
                self.end("deleted")
            else:
                await self.repair(last_seq=head[1], version=head[2])
        except BaseException:
            self._dropped |= dropped  # it is still missing
            raise

    async def repair(self, *, last_seq: int, version: int) -> None:
        """Bring this session to what Postgres holds: first who may read, then what there is to read."""
        await self._verify_members(version)
        self._ahead.forget(self.last_seq)
        self._advance()
        if last_seq > self.last_seq:
            metrics.SESSION_REPAIRS.inc()
        while last_seq > self.last_seq:
            page = await self._stored_after(self.last_seq, last_seq, PAGE)
            if not page:
                return
            await self._verify_members(version)  # someone may have come in meanwhile, with an older view
            for seq, payload in page:
                self._ahead.take(seq)
                if seq == self.last_seq + 1:
                    self._deliver(seq, payload)
            self._advance()

    async def _verify_members(self, version: int) -> None:
        """Return when everyone who follows was looked at since this version; who came in meanwhile is asked for again."""
        while version > self.version:
            self._wanted_version = max(self._wanted_version, version)
            asked = self._named()
            if self.kind != "broadcast":
                async with self._pool.connection() as connection:
                    present = await queries.still_members(connection, self.conversation_id, sorted(asked))
                for subscriber in [s for s in self.subscribers if s.participant_id in asked - present]:
                    subscriber.end("removed")
            if self._named() <= asked:
                self.version = max(self.version, version)
        self.runs.settle()

    def _named(self) -> set[str]:
        return {s.participant_id for s in self.subscribers if s.participant_id is not None}

    async def read_after(self, after: int, up_to: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` encoded messages with `after < seq <= up_to`: from the tail, or else from Postgres."""
        if after >= up_to:
            return []
        recent = self.tail.after(after)
        if recent is not None:
            return [entry for entry in recent[:limit] if entry[0] <= up_to]
        return await self._stored_after(after, up_to, limit)

    async def _stored_after(self, after: int, up_to: int, limit: int) -> list[tuple[int, bytes]]:
        async with self._pool.connection() as connection:
            page = await queries.page_after(connection, self.conversation_id, after, up_to, limit)
        return [(message.seq, encode(message)) for message in page]

    # Who follows.

    async def starting_point(self, after: int | None, epoch: str | None) -> tuple[int, bool]:
        """From which seq a client that holds everything up to `after` has to be told, and whether it can be.

        It cannot if its epoch is another one, or if this log never came to its seq: then it starts anew, at the end.
        """
        # Nobody is shown a page before it is certain that it is a member still.
        if self._wanted_version > self.version or (after is not None and after > self.last_seq):
            await self.check()
        if after is None:
            return self.last_seq, False
        if after > self.last_seq or (epoch is not None and epoch != str(self.epoch)):
            return self.last_seq, False
        return after, True

    def add(self, subscriber: Subscriber, version: int) -> None:
        """Count a subscriber in, whose membership was seen at `version`; it gets nothing until `follow`."""
        self.subscribers.add(subscriber)
        self.note_version(version)
        if version < self._wanted_version:
            self.version = min(self.version, version)
            self._catch_up(delay=0)

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self.subscribers.discard(subscriber)
        self.runs.followers.leave(subscriber)
        live = self._live.get(subscriber.address)
        if live is not None:
            live.discard(subscriber)
            if not live:
                del self._live[subscriber.address]

    async def follow(self, subscriber: Subscriber, after: int) -> None:
        """Write everything after `after` to the subscriber, then make it live: no hole, nothing twice.

        Between the last look at `last_seq` and going live nothing is awaited, so that nothing can come in between.
        """
        await replay(self, subscriber, after)
        self.go_live(subscriber)

    def go_live(self, subscriber: Subscriber) -> None:
        """From now on the subscriber, which holds everything up to `last_seq`, gets what comes. It is told who types now."""
        if subscriber in self.subscribers:
            self._live[subscriber.address].add(subscriber)
            for participant_id in self.typing.active:
                payload = orjson.dumps({"participant_id": participant_id, "on": True})
                subscriber.write(subscriber.address.frame("typing", payload, None))
        self.runs.followers.went_live(subscriber)

    async def newest(self, limit: int) -> tuple[int, list[tuple[int, bytes]]]:
        """The newest `limit` messages, encoded, oldest first, and the seq that they go up to."""
        up_to = self.last_seq
        if not up_to:
            return 0, []
        recent = self.tail.after(max(up_to - limit, 0))
        if recent is not None:
            return up_to, recent
        async with self._pool.connection() as connection:
            page = await queries.page_before(connection, self.conversation_id, up_to + 1, limit)
        return up_to, [(message.seq, encode(message)) for message in page]

    def end(self, reason: str) -> None:
        """The conversation is gone: every subscriber is told."""
        for subscriber in list(self.subscribers):
            subscriber.end(reason)
        self._ahead.forget()
        self._dropped = False
        self._wanted_version = self.version

    def stop(self) -> None:
        """Stop what runs in the background. Nothing that is left refers to this session, so that it is freed at once:

        the collector looks for cycles among old objects so seldom that thousands would wait for it.
        """
        self.tail.clear()
        self._ahead.forget()
        self.runs.stop()
        self.typing.stop()
        self.presence.stop()
        if self._catching_up is not None:
            self._catching_up.cancel()

    def _typing_changed(self, participant_id: str, on: bool) -> None:
        self.event("typing", {"participant_id": participant_id, "on": on})


async def _active_runs(pool: Pool, conversation_id: int) -> list[tuple[UUID, str]]:
    async with pool.connection() as connection:
        return await run_queries.active_runs(connection, conversation_id)
