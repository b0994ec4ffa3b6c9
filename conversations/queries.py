"""Reads of conversations: pages of the log, and what a process needs to know of a conversation to follow it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from conversations.append import Message
from conversations.connection import Runner, Statement
from conversations.store import MESSAGE_COLUMNS, message_from_row


@dataclass(frozen=True, slots=True)
class View:
    """A conversation as one participant finds it. `role` is None for one who is not a member."""

    id: int
    key: str
    epoch: UUID
    kind: str
    state: str
    last_seq: int
    version: int
    role: str | None


# One probe of the unique key and one of the membership's unique pair.
SELECT_VIEW = Statement("""
SELECT c.id, c.key, c.epoch, c.kind, c.state, c.last_seq, c.version, m.role
FROM conversations_conversation c
LEFT JOIN conversations_membership m ON m.conversation_id = c.id AND m.participant_id = $1::text
WHERE c.key = $2::text
""")

# Both pages are range scans of the unique index (conversation_id, seq), stopped by the limit: the same cost at any depth. The
# key is read once for a page; a join would read it once for every message.
_OF_ONE = MESSAGE_COLUMNS.replace("c.key", "(SELECT key FROM conversations_conversation WHERE id = $1)")
SELECT_AFTER = Statement(f"""
SELECT {_OF_ONE} FROM conversations_message m
WHERE m.conversation_id = $1 AND m.seq > $2 AND m.seq <= $3 ORDER BY m.seq LIMIT $4
""")
SELECT_BEFORE = Statement(f"""
SELECT {_OF_ONE} FROM conversations_message m
WHERE m.conversation_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3
""")

SELECT_HEADS = Statement(
    "SELECT id, epoch, last_seq, version FROM conversations_conversation WHERE id = ANY($1::bigint[])"
)

SELECT_STILL_MEMBERS = Statement("""
SELECT participant_id FROM conversations_membership WHERE conversation_id = $1 AND participant_id = ANY($2::text[])
""")


async def view(runner: Runner, key: str, participant_id: str | None) -> View | None:
    """The conversation with this canonical key as this participant finds it, or None."""
    (found,) = await runner.run(SELECT_VIEW(participant_id, key))
    return View(*found.rows[0]) if found.rows else None


async def page_after(
    runner: Runner, conversation_id: int, after: int, up_to: int, limit: int
) -> list[Message]:
    """Up to `limit` messages with `after < seq <= up_to`, oldest first."""
    (page,) = await runner.run(SELECT_AFTER(conversation_id, after, up_to, limit))
    return [message_from_row(row) for row in page.rows]


async def page_before(runner: Runner, conversation_id: int, before: int, limit: int) -> list[Message]:
    """The `limit` newest messages with `seq < before`, oldest first."""
    (page,) = await runner.run(SELECT_BEFORE(conversation_id, before, limit))
    return [message_from_row(row) for row in reversed(page.rows)]


async def heads(runner: Runner, conversation_ids: Sequence[int]) -> dict[int, tuple[UUID, int, int]]:
    """Epoch, last seq and version of each of these conversations that still exists."""
    (found,) = await runner.run(SELECT_HEADS(list(conversation_ids)))
    return {row[0]: (row[1], row[2], row[3]) for row in found.rows}


async def still_members(runner: Runner, conversation_id: int, participant_ids: Sequence[str]) -> set[str]:
    """Which of these participants are members now."""
    (found,) = await runner.run(SELECT_STILL_MEMBERS(conversation_id, list(participant_ids)))
    return {row[0] for row in found.rows}
