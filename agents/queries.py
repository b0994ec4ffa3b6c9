"""Reads of deliveries: what the calls of a claim carry, for all of them in a few statements."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from agents import context
from agents.calls import ClaimedStream
from agents.rules import ContextMessage

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

# Backwards through the unique key until a person has spoken: as many rows as agents have spoken in a row, which the
# loop guard keeps few. What agents have said since, and where that began.
SELECT_STREAKS = """
SELECT asked.stream_id, coalesce(person.seq, 0),
  (SELECT count(*) FROM conversations_message m
   WHERE m.conversation_id = asked.conversation_id AND m.seq > coalesce(person.seq, 0) AND m.seq <= asked.to_seq
     AND m.kind NOT IN ('system', 'redaction'))
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS asked (stream_id, conversation_id, to_seq)
LEFT JOIN LATERAL (
  SELECT m.seq FROM conversations_message m LEFT JOIN conversations_participant p ON p.id = m.sender_id
  WHERE m.conversation_id = asked.conversation_id AND m.seq <= asked.to_seq AND p.kind IS DISTINCT FROM 'agent'
    AND m.kind NOT IN ('system', 'redaction')
  ORDER BY m.seq DESC LIMIT 1
) person ON true
"""


# Two partial indexes, which hold what waits and what was given up: nothing is read of the many that rest.
STREAM_COUNTS = """
SELECT coalesce(e.agent_id, 'subscription-' || e.public_id), counted.state, counted.number
FROM (
  SELECT endpoint_id, CASE WHEN blocked THEN 'blocked' WHEN lease_id IS NOT NULL THEN 'calling'
                           WHEN attempts > 0 THEN 'retrying' ELSE 'due' END AS state, count(*) AS number
  FROM agents_deliverystream WHERE due_at IS NOT NULL GROUP BY 1, 2
  UNION ALL
  SELECT endpoint_id, 'parked', count(*) FROM agents_deliverystream WHERE parked_at IS NOT NULL GROUP BY 1
) counted
JOIN agents_endpoint e ON e.id = counted.endpoint_id
"""

OLDEST_DUE = """
SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8
FROM agents_deliverystream WHERE due_at <= now() AND lease_id IS NULL
"""


async def stream_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many streams are in each state but idle: (endpoint's name, state) → number."""
    cursor = await connection.execute(STREAM_COUNTS)
    return {(name, state): number for name, state, number in await cursor.fetchall()}


async def oldest_due_seconds(connection: Connection) -> float:
    """For how long the stream that has waited longest has been due; 0 if none waits."""
    row = await (await connection.execute(OLDEST_DUE)).fetchone()
    return row[0] if row else 0.0


async def contexts(
    connection: Connection, streams: Sequence[ClaimedStream]
) -> dict[int, list[ContextMessage]]:
    """The messages of each stream's call, oldest first, by the stream's id: an agent's context, or what is new."""
    asked = [(s.id, s.conversation_id, _from_seq(s), s.call_seq) for s in streams]
    found: dict[int, list[ContextMessage]] = {stream.id: [] for stream in streams}
    if asked:
        cursor = await connection.execute(
            SELECT_CONTEXTS, [list(column) for column in zip(*asked, strict=True)]
        )
        for row in await cursor.fetchall():
            found[row[0]].append(ContextMessage(*row[1:]))
    return found


def _from_seq(stream: ClaimedStream) -> int:
    if stream.event:
        return stream.cursor + 1
    return context.from_seq(
        stream.cursor, stream.call_seq, messages=stream.context_messages, tokens=stream.context_tokens
    )


async def participants(
    connection: Connection, conversation_ids: Sequence[int]
) -> dict[int, list[dict[str, str]]]:
    """Who takes part in each conversation: `{id, kind, display_name}`, by the conversation's id."""
    found: defaultdict[int, list[dict[str, str]]] = defaultdict(list)
    if conversation_ids:
        cursor = await connection.execute(SELECT_PARTICIPANTS, (list(conversation_ids), PARTICIPANTS_MAX))
        for conversation_id, participant_id, kind, display_name in await cursor.fetchall():
            found[conversation_id].append({"id": participant_id, "kind": kind, "display_name": display_name})
    return found


async def streaks(connection: Connection, streams: Sequence[ClaimedStream]) -> dict[int, tuple[int, int]]:
    """By stream: the seq of the last message of a person, and how many agents have sent since."""
    if not streams:
        return {}
    asked = [(s.id, s.conversation_id, s.call_seq) for s in streams]
    cursor = await connection.execute(SELECT_STREAKS, [list(column) for column in zip(*asked, strict=True)])
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}
