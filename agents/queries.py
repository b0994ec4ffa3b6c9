"""Reads of deliveries: what the calls of a claim carry, for all of them in two statements."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from agents.calls import ClaimedStream
from agents.rules import ContextMessage, context_from_seq

Connection = AsyncConnection[tuple[Any, ...]]

PARTICIPANTS_MAX = 100
"""The most participants that a call names; who wants all of a large conversation asks for them by REST."""

# A range scan of the unique key (conversation, seq) for each stream: seqs have no holes, so the range is the
# context.
SELECT_CONTEXTS = """
SELECT asked.stream_id, m.id::text, m.seq, m.sender_id, m.kind, m.text, m.content::text, m.metadata::text, m.reply_to,
  m.created_at
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS asked (stream_id, conversation_id, from_seq, to_seq)
CROSS JOIN LATERAL (
  SELECT * FROM conversations_message
  WHERE conversation_id = asked.conversation_id AND seq BETWEEN asked.from_seq AND asked.to_seq ORDER BY seq
) m
"""

# Probes of the membership's unique pair, stopped by the limit, and of the participants' primary key.
SELECT_PARTICIPANTS = """
SELECT asked.conversation_id, p.id, p.kind, p.display_name
FROM unnest(%s::bigint[]) AS asked (conversation_id)
CROSS JOIN LATERAL (
  SELECT participant_id FROM conversations_membership
  WHERE conversation_id = asked.conversation_id ORDER BY participant_id LIMIT %s
) m
JOIN conversations_participant p ON p.id = m.participant_id
"""


async def contexts(
    connection: Connection, streams: Sequence[ClaimedStream]
) -> dict[int, list[ContextMessage]]:
    """The context of each stream's call, oldest first, by the stream's id."""
    asked = [
        (s.id, s.conversation_id, context_from_seq(s.cursor, s.call_seq, s.context_messages), s.call_seq)
        for s in streams
    ]
    found: dict[int, list[ContextMessage]] = {stream.id: [] for stream in streams}
    cursor = await connection.execute(SELECT_CONTEXTS, [list(column) for column in zip(*asked, strict=True)])
    for row in await cursor.fetchall():
        found[row[0]].append(ContextMessage(*row[1:]))
    return found


async def participants(
    connection: Connection, conversation_ids: Sequence[int]
) -> dict[int, list[dict[str, str]]]:
    """Who takes part in each conversation: `{id, kind, display_name}`, by the conversation's id."""
    found: defaultdict[int, list[dict[str, str]]] = defaultdict(list)
    cursor = await connection.execute(SELECT_PARTICIPANTS, (list(conversation_ids), PARTICIPANTS_MAX))
    for conversation_id, participant_id, kind, display_name in await cursor.fetchall():
        found[conversation_id].append({"id": participant_id, "kind": kind, "display_name": display_name})
    return found
