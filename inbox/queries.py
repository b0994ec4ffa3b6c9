"""Reads of the inbox: entries, and the versions that keep a cached snapshot honest."""

from collections.abc import Sequence
from typing import Any

from conversations import rules
from conversations.append import timestamp
from conversations.connection import Runner, Statement
from conversations.store import columns

LISTED_PARTICIPANTS = 50
"""The most participants that an entry lists; a larger conversation is listed in part."""


# For each membership asked for: one probe each of conversation, cursor and mentions, and a short scan of the members.
_ENTRY = f"""
SELECT m.participant_id, c.id, c.key, c.kind, c.title, c.state, c.last_message, c.updated_at, m.muted,
       r.last_read_seq, greatest(c.countable - r.countable, 0),
       (SELECT count(*) FROM inbox_mention x
        WHERE x.participant_id = m.participant_id AND x.conversation_id = c.id AND x.seq > r.last_read_seq),
       ARRAY(SELECT o.participant_id FROM conversations_membership o
             WHERE o.conversation_id = c.id ORDER BY o.id LIMIT {LISTED_PARTICIPANTS}),
       c.last_seq, c.version
FROM conversations_membership m
JOIN conversations_conversation c ON c.id = m.conversation_id
JOIN inbox_readcursor r ON r.participant_id = m.participant_id AND r.conversation_id = m.conversation_id
"""
SELECT_ENTRIES = Statement(
    f"{_ENTRY} JOIN unnest($1::text[], $2::bigint[]) AS asked (participant_id, conversation_id)"
    " ON asked.participant_id = m.participant_id AND asked.conversation_id = m.conversation_id"
)

SELECT_ENTRIES_OF = Statement(f"""{_ENTRY}
JOIN unnest($1::bigint[]) AS asked (conversation_id) ON asked.conversation_id = m.conversation_id
WHERE m.participant_id IN (SELECT participant_id FROM conversations_membership l
  WHERE l.conversation_id = asked.conversation_id ORDER BY participant_id LIMIT $2)
""")

# The newest conversations of one participant with what their entries depend on: no JSON. LATERAL with LIMIT: a plain join may
# meet each of the participant's cursors for each of its conversations.
SELECT_VERSIONS = Statement("""
SELECT c.id, c.last_seq, c.version, r.last_read_seq
FROM conversations_membership m
JOIN conversations_conversation c ON c.id = m.conversation_id
CROSS JOIN LATERAL (SELECT last_read_seq FROM inbox_readcursor x
  WHERE x.participant_id = m.participant_id AND x.conversation_id = m.conversation_id LIMIT 1) r
WHERE m.participant_id = $1 AND c.state <> 'archived' ORDER BY c.updated_at DESC LIMIT $2
""")

# Messages of the last seconds, by the time-ordered primary key: what repairs inboxes whose hints were lost. The limit is
# more than a server takes in that time; without it Postgres, which plans before it knows the time, would read all messages.
SELECT_RECENT = Statement("""
SELECT conversation_id, max(seq)
FROM (SELECT conversation_id, seq FROM conversations_message WHERE id > $1 ORDER BY id DESC LIMIT 100000) recent
GROUP BY conversation_id
""")

SELECT_LOCAL_MEMBERS = Statement("""
SELECT participant_id, conversation_id FROM conversations_membership
WHERE conversation_id = ANY($1::bigint[]) AND participant_id = ANY($2::text[])
""")

SELECT_KEYS = Statement("SELECT id, key FROM conversations_conversation WHERE id = ANY($1::bigint[])")

# LATERAL with LIMIT: one probe for each member, also where Postgres takes a conversation for a small one.
SELECT_MEMBERS = Statement("""
SELECT m.participant_id, p.kind, p.display_name, m.role, coalesce(r.last_read_seq, 0)
FROM (SELECT * FROM conversations_membership WHERE conversation_id = $1 ORDER BY id LIMIT $2) m
JOIN conversations_participant p ON p.id = m.participant_id
LEFT JOIN LATERAL (SELECT last_read_seq FROM inbox_readcursor c
  WHERE c.participant_id = m.participant_id AND c.conversation_id = m.conversation_id LIMIT 1) r ON true
ORDER BY m.id
""")


def _entry(row: Sequence[Any]) -> dict[str, Any]:
    return {
        "key": row[2],
        "dm_key": row[2] if rules.is_dm(row[2]) else None,
        "kind": row[3],
        "title": row[4],
        "state": row[5],
        "participants": row[12],
        "last_message": row[6],
        "unread_count": row[10],
        "mention_count": row[11],
        "last_read_seq": row[9],
        "muted": row[8],
        "updated_at": timestamp(row[7]),
    }


async def entries(runner: Runner, asked: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, Any]]:
    """The inbox entries of these (participant id, conversation id) pairs that are memberships."""
    (found,) = await runner.run(SELECT_ENTRIES(*columns(asked)))
    return {(row[0], row[1]): _entry(row) for row in found.rows}


async def versions(runner: Runner, participant_id: str, limit: int) -> dict[int, list[int]]:
    """What the participant's newest entries depend on, newest first: conversation id → its version numbers."""
    (found,) = await runner.run(SELECT_VERSIONS(participant_id, limit))
    return {row[0]: list(row[1:]) for row in found.rows}


async def recent_conversations(runner: Runner, since: Any) -> dict[int, int]:
    """Conversations written to since this UUIDv7 (a time), with their newest seq."""
    (found,) = await runner.run(SELECT_RECENT(since))
    return {row[0]: row[1] for row in found.rows}


async def keys_of(runner: Runner, conversation_ids: Sequence[int]) -> dict[int, str]:
    """The keys of these conversations by id."""
    (found,) = await runner.run(SELECT_KEYS(list(conversation_ids)))
    return {row[0]: row[1] for row in found.rows}


async def memberships_among(
    runner: Runner, conversation_ids: Sequence[int], participant_ids: Sequence[str]
) -> list[tuple[str, int]]:
    """The (participant id, conversation id) pairs of these participants in these conversations."""
    (found,) = await runner.run(SELECT_LOCAL_MEMBERS(list(conversation_ids), list(participant_ids)))
    return [(row[0], row[1]) for row in found.rows]


async def members(runner: Runner, conversation_id: int, limit: int) -> list[dict[str, Any]]:
    """The first `limit` members: `{id, kind, display_name, role, last_read_seq}` each."""
    (found,) = await runner.run(SELECT_MEMBERS(conversation_id, limit))
    names = ("id", "kind", "display_name", "role", "last_read_seq")
    return [dict(zip(names, row, strict=True)) for row in found.rows]


async def entries_of(
    runner: Runner, conversation_ids: Sequence[int], limit: int
) -> dict[int, dict[str, dict[str, Any]]]:
    """The inbox entries of these conversations' first `limit` members by id: conversation id → participant id → entry."""
    by_conversation: dict[int, dict[str, dict[str, Any]]] = {
        conversation_id: {} for conversation_id in conversation_ids
    }
    (found,) = await runner.run(SELECT_ENTRIES_OF(list(conversation_ids), limit))
    for row in found.rows:
        by_conversation[row[1]][row[0]] = _entry(row)
    return by_conversation
