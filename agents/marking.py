"""What makes delivery streams due: an append, and a change of an inbox. SQL for the append's transaction.

One rule for every statement here: conversations are locked by the caller, streams in id order.
"""

from collections.abc import Mapping, Sequence

import msgspec
from django.conf import settings

from conversations.connection import Call, Statement

DEBOUNCES = 10
"""A burst that does not end is delivered after so many times the debounce."""

# Streams of subscriptions come to be with the first message that concerns them. The index of subscriptions is
# all that is read where there are none; the next message finds the stream by the unique pair's index:
# LATERAL with LIMIT leaves the planner no other way, such as all streams of the conversation for each subscription. The
# lock, in id order, keeps a subscription from being deleted before this commits, when its foreign key would fail the append,
# and from being enabled or disabled, which the new stream would not follow.
OPEN_SUBSCRIBED = Statement("""
INSERT INTO agents_deliverystream
  (endpoint_id, conversation_id, enabled, handed_over, trigger, cursor, wanted_seq, attempts, blocked, park_reason,
   last_error)
SELECT e.id, c.id, e.enabled, false, '',
       CASE e.event WHEN 'inbox.updated' THEN 0 ELSE coalesce(fresh.first_seq - 1, c.last_seq) END, 0, 0, false, '', ''
FROM agents_endpoint e
CROSS JOIN unnest($1::bigint[], $2::bigint[]) AS fresh (conversation_id, first_seq)
JOIN conversations_conversation c ON c.id = fresh.conversation_id
LEFT JOIN LATERAL (
  SELECT s.id FROM agents_deliverystream s WHERE s.conversation_id = c.id AND s.endpoint_id = e.id LIMIT 1
) known ON true
WHERE e.event <> '' AND (e.event = 'inbox.updated' OR NOT $3::bool)
  AND (c.kind = 'broadcast') = (e.event = 'broadcast.created')
  AND starts_with(c.key, e.key_prefix)
  AND (e.conversation_kinds = '[]' OR e.conversation_kinds ? c.kind)
  AND (e.participant_id = '' OR EXISTS (
    SELECT FROM conversations_membership m WHERE m.conversation_id = c.id AND m.participant_id = e.participant_id))
  AND known.id IS NULL
ORDER BY e.id
FOR SHARE OF e
ON CONFLICT (conversation_id, endpoint_id) DO NOTHING
""")

# Runs inside the append's transaction, after the conversations' counters have moved. One probe of
# `stream_once` for each conversation, then the row locks in id order. It writes also to streams that are due
# or in flight (a HOT update, since `due_at` stays): the row lock makes an acknowledgement wait for this
# commit and then see `wanted_seq`. A replay that is due later than a message may wait comes forward.
MARK_DUE = Statement("""
WITH wanted AS MATERIALIZED (
  SELECT s.id, CASE WHEN e.event = 'inbox.updated' THEN s.wanted_seq + 1 ELSE c.last_seq END AS seq,
         coalesce(e.debounce_ms, CASE WHEN c.kind = 'group' AND s.agent_id IS NOT NULL THEN $7::int ELSE 0 END)
           * interval '1 millisecond' AS debounce
  FROM unnest($1::bigint[], $2::text[], $3::bool[])
    AS fresh (conversation_id, sender_id, countable)
  JOIN conversations_conversation c ON c.id = fresh.conversation_id
  JOIN agents_deliverystream s ON s.conversation_id = fresh.conversation_id
  JOIN agents_endpoint e ON e.id = s.endpoint_id
  WHERE s.agent_id IS NULL
     OR (fresh.countable AND s.agent_id <> fresh.sender_id
         AND CASE coalesce(nullif(s.trigger, ''), e.trigger)
               WHEN 'all' THEN true
               WHEN 'mention' THEN (s.conversation_id, s.agent_id, fresh.sender_id) IN (
                 SELECT * FROM unnest($4::bigint[], $5::text[], $6::text[]))
               ELSE false END)
  ORDER BY s.id
  FOR NO KEY UPDATE OF s
)
UPDATE agents_deliverystream s
SET wanted_seq = greatest(s.wanted_seq, wanted.seq),
    waiting_since = coalesce(s.waiting_since, now()),
    due_at = CASE
      WHEN s.parked_at IS NOT NULL OR s.handed_over OR NOT s.enabled THEN s.due_at
      WHEN s.due_at IS NULL THEN now() + wanted.debounce
      WHEN s.call_id IS NULL AND s.lease_id IS NULL AND s.due_at > now() AND NOT s.blocked
      THEN least(now() + wanted.debounce,
                 greatest(s.due_at, least(now() + wanted.debounce, s.waiting_since + wanted.debounce * $8::int)))
      ELSE s.due_at END
FROM wanted WHERE s.id = wanted.id
""")

MARK_INBOX = Statement("""
WITH wanted AS MATERIALIZED (
  SELECT s.id FROM agents_deliverystream s JOIN agents_endpoint e ON e.id = s.endpoint_id
  WHERE s.conversation_id = $1::bigint AND e.event = 'inbox.updated'
    AND (e.participant_id = '' OR e.participant_id = ANY($2::text[]))
  ORDER BY s.id
  FOR NO KEY UPDATE OF s
)
UPDATE agents_deliverystream s
SET wanted_seq = s.wanted_seq + 1,
    waiting_since = coalesce(s.waiting_since, now()),
    due_at = CASE WHEN s.due_at IS NULL AND s.parked_at IS NULL AND s.enabled THEN now() ELSE s.due_at END
FROM wanted WHERE s.id = wanted.id
""")


class News(msgspec.Struct, frozen=True):
    """One appended message, as far as endpoints care. `counts`: it is no system message and no redaction."""

    conversation_id: int
    seq: int
    sender_id: str
    counts: bool
    mentions: Sequence[str]


def mark_due(news: Sequence[News]) -> list[Call]:
    """Note which streams these messages concern; the last call's count says how many.

    Run them in the append's transaction, after the conversations' counters have moved. News come in the order of
    their seqs.
    """
    first: dict[int, int | None] = {}
    for one in news:  # in the order of their seqs
        first.setdefault(one.conversation_id, one.seq)
    senders = sorted({(one.conversation_id, one.sender_id, one.counts) for one in news})
    mentions = {
        (one.conversation_id, mentioned, one.sender_id)
        for one in news
        if one.counts
        for mentioned in one.mentions
    }
    return [
        _open_subscribed(first, inbox_only=False),
        MARK_DUE(
            [conversation_id for conversation_id, _, _ in senders],
            [sender_id for _, sender_id, _ in senders],
            [counts for _, _, counts in senders],
            [conversation_id for conversation_id, _, _ in mentions],
            [mentioned for _, mentioned, _ in mentions],
            [sender_id for _, _, sender_id in mentions],
            settings.FLEETLM.agent_group_debounce_ms,
            DEBOUNCES,
        ),
    ]


def mark_inbox(conversation_id: int, participant_ids: Sequence[str]) -> list[Call]:
    """Note that these participants' inbox entries have changed without a message; the last call's count says for how many."""
    return [
        _open_subscribed({conversation_id: None}, inbox_only=True),
        MARK_INBOX(conversation_id, list(participant_ids)),
    ]


def _open_subscribed(first_seqs: Mapping[int, int | None], *, inbox_only: bool) -> Call:
    """Make the streams that subscriptions lack, from these seqs on, or from the end of the log."""
    return OPEN_SUBSCRIBED(list(first_seqs.keys()), list(first_seqs.values()), inbox_only)
