"""One append transaction: lock, look, decide, write, commit. Two round trips to Postgres, whatever the batch's size."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

import inbox.store
from agents import marking
from conversations import rules, store
from conversations.append import AppendRequest, Head, Known, Members, Message, Outcome, plan
from conversations.connection import Call, Connection, Runner


@dataclass(frozen=True, slots=True)
class Committed:
    """What a transaction did: an outcome for each request, and what changed for whoever follows."""

    outcomes: list[Outcome]
    messages: list[Message]
    heads: dict[int, Head]
    members: dict[int, Members]
    deliveries_due: bool


class MembersCache:
    """Members by conversation, good for as long as the locked row shows the same version.

    `limit` is a number of members, a conversation counting as one besides; beyond it the least recently used are forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._members: OrderedDict[int, tuple[int, Members]] = OrderedDict()

    async def load(self, runner: Runner, heads: Sequence[Head]) -> dict[int, Members]:
        """The members of these locked conversations: from memory where the version agrees, else from Postgres."""
        stale = [head for head in heads if self._version(head.id) != head.version]
        if stale:
            fresh = await store.select_members(runner, [head.id for head in stale])
            for head in stale:
                self._forget(head.id)
                self._members[head.id] = (head.version, fresh[head.id])
                self._held += 1 + len(fresh[head.id])
        found = {}
        for head in heads:
            self._members.move_to_end(head.id)
            found[head.id] = self._members[head.id][1]
        while self._held > self._limit and self._members:
            self._forget(next(iter(self._members)))
        return found

    def _forget(self, conversation_id: int) -> None:
        entry = self._members.pop(conversation_id, None)
        self._held -= 1 + len(entry[1]) if entry else 0

    def _version(self, conversation_id: int) -> int | None:
        entry = self._members.get(conversation_id)
        return entry[0] if entry else None


async def commit_batch(
    connection: Connection, requests: Sequence[AppendRequest], cache: MembersCache
) -> Committed:
    """Append all of these in one transaction; returns after the commit. Raises `psycopg.Error` if nothing was stored."""
    async with connection.atomic() as transaction:
        heads, duplicates, senders = await store.lock_and_look(transaction, requests)
        members = await cache.load(transaction, list(heads.values())) if heads else {}
        known = Known(heads=heads, members=members, duplicates=duplicates, senders=senders)
        planned = plan(requests, known, datetime.now(UTC), uuid7)
        results = await transaction.commit(*_writes(planned.messages, heads, members))
    due = bool(results) and results[-1].count > 0
    return Committed(
        planned.outcomes, planned.messages, {head.id: head for head in heads.values()}, members, due
    )


def _writes(messages: list[Message], heads: dict[str, Head], members: dict[int, Members]) -> list[Call]:
    """What these messages change; the last one marks the delivery streams that they concern."""
    if not messages:
        return []
    news = [
        marking.News(m.conversation_id, m.seq, m.sender_id, rules.counts_as_unread(m.kind), m.mentions)
        for m in messages
    ]
    return [
        *store.insert_messages(messages),
        store.update_heads([head for head in heads.values() if head.changed]),
        *inbox.store.advance_senders(messages, members),
        *inbox.store.update_mentions(messages),
        *marking.mark_due(news),
    ]
