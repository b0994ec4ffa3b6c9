"""Writes of the inbox: read cursors that only move forward, and mentions."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from conversations.append import Members, Message
from conversations.models import Conversation
from inbox.models import ReadCursor

Connection = AsyncConnection[tuple[Any, ...]]

# Sending reads up to one's own message. The conversation's row is locked, so cursors of one conversation never meet.
ADVANCE_SENDERS = """
INSERT INTO inbox_readcursor (participant_id, conversation_id, last_read_seq, countable, updated_at)
SELECT participant_id, conversation_id, seq, countable, now()
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS new (participant_id, conversation_id, seq, countable)
ON CONFLICT (participant_id, conversation_id) DO UPDATE
SET last_read_seq = EXCLUDED.last_read_seq, countable = EXCLUDED.countable, updated_at = EXCLUDED.updated_at
WHERE inbox_readcursor.last_read_seq < EXCLUDED.last_read_seq
"""

INSERT_MENTIONS = """
INSERT INTO inbox_mention (participant_id, conversation_id, seq) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
"""

DELETE_MENTIONS = """
DELETE FROM inbox_mention m USING unnest(%s::bigint[], %s::bigint[]) AS target (conversation_id, seq)
WHERE m.conversation_id = target.conversation_id AND m.seq = target.seq
"""

# The cursor never passes the end of the log, and never goes back: `least` and the WHERE hold it. The message that it comes
# to rest on carries how many countable ones there are up to it.
MOVE_CURSOR = """
WITH target AS (
  SELECT c.id AS conversation_id, least(%(seq)s, c.last_seq) AS seq,
         coalesce((SELECT m.countable FROM conversations_message m
                   WHERE m.conversation_id = c.id AND m.seq = least(%(seq)s, c.last_seq)), 0) AS countable
  FROM conversations_conversation c WHERE c.id = %(conversation_id)s
)
INSERT INTO inbox_readcursor AS r (participant_id, conversation_id, last_read_seq, countable, updated_at)
SELECT %(participant_id)s, conversation_id, seq, countable, now() FROM target
ON CONFLICT (participant_id, conversation_id) DO UPDATE
SET last_read_seq = greatest(r.last_read_seq, EXCLUDED.last_read_seq),
    countable = CASE WHEN r.last_read_seq < EXCLUDED.last_read_seq THEN EXCLUDED.countable ELSE r.countable END,
    updated_at = CASE WHEN r.last_read_seq < EXCLUDED.last_read_seq THEN EXCLUDED.updated_at ELSE r.updated_at END
RETURNING last_read_seq
"""


async def advance_senders(
    connection: Connection, messages: Sequence[Message], members: dict[int, Members]
) -> None:
    """Move each sender's cursor to its newest message of this batch, if it is a member."""
    newest = {
        (m.sender_id, m.conversation_id): (m.seq, m.countable)
        for m in messages
        if m.sender_id in members.get(m.conversation_id, {})
    }
    if not newest:
        return
    rows = [(*who, *where) for who, where in newest.items()]
    await connection.execute(ADVANCE_SENDERS, [list(column) for column in zip(*rows, strict=True)])


async def update_mentions(connection: Connection, messages: Sequence[Message]) -> None:
    """Note who is mentioned in these messages, but for senders naming themselves; a redacted message mentions nobody."""
    rows = [(one, m.conversation_id, m.seq) for m in messages for one in m.mentions if one != m.sender_id]
    if rows:
        await connection.execute(INSERT_MENTIONS, [list(column) for column in zip(*rows, strict=True)])
    redacted = [(m.conversation_id, m.reply_to) for m in messages if m.kind == "redaction"]
    if redacted:
        await connection.execute(DELETE_MENTIONS, [list(column) for column in zip(*redacted, strict=True)])


async def move_cursor(connection: Connection, participant_id: str, conversation_id: int, seq: int) -> int:
    """Move a read cursor forward to `seq`, at most to the end of the log; returns where it stands now."""
    cursor = await connection.execute(
        MOVE_CURSOR, {"participant_id": participant_id, "conversation_id": conversation_id, "seq": seq}
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def start_cursors(conversation: Conversation, participant_ids: Sequence[str]) -> None:
    """Give new members a cursor at the end of the log: what was said before they came is not unread."""
    ReadCursor.objects.bulk_create(
        (
            ReadCursor(
                participant_id=one,
                conversation=conversation,
                last_read_seq=conversation.last_seq,
                countable=conversation.countable,
            )
            for one in participant_ids
        ),
        update_conflicts=True,
        unique_fields=["participant", "conversation"],
        update_fields=["last_read_seq", "countable"],
    )
