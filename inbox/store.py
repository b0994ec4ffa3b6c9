"""Writes of the inbox: read cursors that only move forward, and mentions."""

from collections.abc import Sequence

from conversations.append import Members, Message
from conversations.connection import Call, Statement
from conversations.models import Conversation
from conversations.store import columns
from inbox.models import ReadCursor

# Sending reads up to one's own message. The conversation's row is locked, so cursors of one conversation never meet.
ADVANCE_SENDERS = Statement("""
INSERT INTO inbox_readcursor (participant_id, conversation_id, last_read_seq, countable, updated_at)
SELECT participant_id, conversation_id, seq, countable, now()
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
  AS new (participant_id, conversation_id, seq, countable)
ON CONFLICT (participant_id, conversation_id) DO UPDATE
SET last_read_seq = EXCLUDED.last_read_seq, countable = EXCLUDED.countable, updated_at = EXCLUDED.updated_at
WHERE inbox_readcursor.last_read_seq < EXCLUDED.last_read_seq
""")

INSERT_MENTIONS = Statement("""
INSERT INTO inbox_mention (participant_id, conversation_id, seq) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
""")

DELETE_MENTIONS = Statement("""
DELETE FROM inbox_mention m USING unnest($1::bigint[], $2::bigint[]) AS target (conversation_id, seq)
WHERE m.conversation_id = target.conversation_id AND m.seq = target.seq
""")

# The cursor never passes the end of the log, and never goes back: `least` and the WHERE hold it. The message that it comes
# to rest on carries how many countable ones there are up to it.
MOVE_CURSOR = Statement("""
WITH target AS (
  SELECT c.id AS conversation_id, least($3::bigint, c.last_seq) AS seq,
         coalesce((SELECT m.countable FROM conversations_message m
                   WHERE m.conversation_id = c.id AND m.seq = least($3::bigint, c.last_seq)), 0) AS countable
  FROM conversations_conversation c WHERE c.id = $2::bigint
)
INSERT INTO inbox_readcursor AS r (participant_id, conversation_id, last_read_seq, countable, updated_at)
SELECT $1::text, conversation_id, seq, countable, now() FROM target
ON CONFLICT (participant_id, conversation_id) DO UPDATE
SET last_read_seq = greatest(r.last_read_seq, EXCLUDED.last_read_seq),
    countable = CASE WHEN r.last_read_seq < EXCLUDED.last_read_seq THEN EXCLUDED.countable ELSE r.countable END,
    updated_at = CASE WHEN r.last_read_seq < EXCLUDED.last_read_seq THEN EXCLUDED.updated_at ELSE r.updated_at END
RETURNING last_read_seq
""")


def advance_senders(messages: Sequence[Message], members: dict[int, Members]) -> list[Call]:
    """Move each sender's cursor to its newest message of this batch, if it is a member."""
    newest = {
        (m.sender_id, m.conversation_id): (m.seq, m.countable)
        for m in messages
        if m.sender_id in members.get(m.conversation_id, {})
    }
    return [ADVANCE_SENDERS(*columns([(*who, *where) for who, where in newest.items()]))] if newest else []


def update_mentions(messages: Sequence[Message]) -> list[Call]:
    """Note who is mentioned in these messages, but for senders naming themselves; a redacted message mentions nobody."""
    calls = []
    named = [(one, m.conversation_id, m.seq) for m in messages for one in m.mentions if one != m.sender_id]
    if named:
        calls.append(INSERT_MENTIONS(*columns(named)))
    redacted = [(m.conversation_id, m.reply_to) for m in messages if m.kind == "redaction"]
    if redacted:
        calls.append(DELETE_MENTIONS(*columns(redacted)))
    return calls


def move_cursor(participant_id: str, conversation_id: int, seq: int) -> Call:
    """Move a read cursor forward to `seq`, at most to the end of the log; its row is where it stands now."""
    return MOVE_CURSOR(participant_id, conversation_id, seq)


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
