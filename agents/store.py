"""Writes of delivery streams. The hot ones are SQL for an async connection, each one statement; all are fenced by the lease.

Whoever locks conversations locks them before streams, and streams in id order: then nobody waits in a circle.
The cold writes (registering, members, operators) are in `agents/registration.py` and `agents/operations.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from agents.calls import ClaimedStream, Finish
from agents.operations import close_streams, open_streams
from agents.rules import NEW_MESSAGES_PER_CALL, may_take_another

__all__ = [
    "claim_due_streams",
    "close_streams",
    "finish",
    "mark_due",
    "open_streams",
    "release",
    "renew_leases",
]

Connection = AsyncConnection[tuple[Any, ...]]

ERROR_CHARACTERS = 500

# Runs inside the append's transaction, after the conversations' counters have moved. One probe of
# `stream_once` for each conversation, then the row locks in id order. It writes also to streams that are due
# or in flight (a HOT update, since `due_at` stays): the row lock makes an acknowledgement wait for this
# commit and then see `wanted_seq`.
MARK_DUE_SQL = """
WITH wanted AS MATERIALIZED (
  SELECT s.id, c.last_seq, e.debounce_ms
  FROM unnest(%(conversation_ids)s::bigint[], %(sender_ids)s::text[]) AS fresh (conversation_id, sender_id)
  JOIN conversations_conversation c ON c.id = fresh.conversation_id
  JOIN agents_deliverystream s ON s.conversation_id = fresh.conversation_id AND s.agent_id <> fresh.sender_id
  JOIN agents_agentendpoint e ON e.id = s.endpoint_id
  ORDER BY s.id
  FOR NO KEY UPDATE OF s
)
UPDATE agents_deliverystream s
SET wanted_seq = greatest(s.wanted_seq, wanted.last_seq),
    due_at = CASE WHEN s.due_at IS NULL AND s.parked_at IS NULL AND s.enabled
                  THEN now() + wanted.debounce_ms * interval '1 millisecond' ELSE s.due_at END
FROM wanted WHERE s.id = wanted.id
"""

# A range scan of `stream_due`, which holds due streams only, stopped by the limit; what others have locked is
# skipped. An endpoint takes its next place only if it then holds no more than are left. The upper seq is
# fixed here, at the first attempt, from the same snapshot that showed the stream as due. `due_at` becomes the
# end of the lease.
CLAIM_DUE_STREAMS = """
WITH due AS MATERIALIZED (
  SELECT s.id, s.endpoint_id, s.due_at
  FROM agents_deliverystream s
  WHERE s.due_at <= now() AND s.enabled AND s.endpoint_id <> ALL(%(full)s::bigint[])
  ORDER BY s.due_at LIMIT %(limit)s
), fair AS MATERIALIZED (
  SELECT due.id, row_number() OVER (PARTITION BY due.endpoint_id ORDER BY due.due_at) AS place,
         coalesce(busy.held, 0) AS held
  FROM due
  LEFT JOIN unnest(%(endpoint_ids)s::bigint[], %(held)s::int[]) AS busy (endpoint_id, held) USING (endpoint_id)
), mine AS MATERIALIZED (
  SELECT s.id FROM fair JOIN agents_deliverystream s ON s.id = fair.id
  WHERE fair.held + fair.place <= %(limit)s - fair.place + 1 AND s.due_at <= now() AND s.enabled
  FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE agents_deliverystream s
SET lease_id = %(lease_id)s,
    due_at = now() + %(lease_seconds)s * interval '1 second',
    call_id = coalesce(s.call_id, gen_random_uuid()),
    call_seq = coalesce(s.call_seq, least(c.last_seq, s.cursor + %(new_messages)s)),
    attempts = s.attempts + 1
FROM mine, agents_agentendpoint e, conversations_conversation c
WHERE s.id = mine.id AND e.id = s.endpoint_id AND c.id = s.conversation_id
RETURNING s.id, s.lease_id, s.cursor, s.call_id, s.call_seq, s.attempts, s.first_failed_at, s.agent_id,
  s.endpoint_id, e.url, e.dialect, e.context_messages, e.secrets, c.id, c.key, c.kind = 'dm', c.epoch
"""

# The first entry of `stream_due`.
NEXT_DUE = """
SELECT extract(epoch FROM due_at - now())::float8 FROM agents_deliverystream
WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1
"""

# Probes of the primary key, the locks in id order. An append that holds one of the rows is waited for, and the
# row is then read anew: `wanted_seq` is the newest. A lost lease matches nothing, so it changes nothing and logs
# no attempt.
FINISH = """
WITH done AS MATERIALIZED (
  SELECT s.id, d.*
  FROM unnest(%(stream_ids)s::bigint[], %(lease_ids)s::uuid[], %(delivered)s::bool[], %(retry_in)s::float8[],
              %(errors)s::text[], %(call_ids)s::uuid[], %(numbers)s::int[], %(from_seqs)s::bigint[],
              %(to_seqs)s::bigint[], %(run_ids)s::uuid[], %(outcomes)s::text[], %(statuses)s::int[],
              %(durations)s::int[])
    AS d (stream_id, lease_id, delivered, retry_in, error, call_id, number, from_seq, to_seq,
          run_id, outcome, status, duration_ms)
  JOIN agents_deliverystream s ON s.id = d.stream_id AND s.lease_id = d.lease_id
  ORDER BY s.id
  FOR NO KEY UPDATE OF s
), logged AS (
  INSERT INTO agents_attempt
    (stream_id, call_id, run_id, number, from_seq, to_seq, outcome, status, duration_ms, error)
  SELECT stream_id, call_id, run_id, number, from_seq, to_seq, outcome, status, duration_ms, error
  FROM done WHERE run_id IS NOT NULL
)
UPDATE agents_deliverystream s
SET cursor = CASE WHEN done.delivered THEN s.call_seq ELSE s.cursor END,
    due_at = CASE WHEN NOT s.enabled THEN NULL
                  WHEN NOT done.delivered THEN now() + done.retry_in * interval '1 second'
                  WHEN s.wanted_seq > s.call_seq THEN now() + e.debounce_ms * interval '1 millisecond' END,
    parked_at = CASE WHEN NOT done.delivered AND done.retry_in IS NULL THEN now() END,
    first_failed_at = CASE WHEN NOT done.delivered THEN coalesce(s.first_failed_at, now()) END,
    attempts = CASE WHEN done.delivered THEN 0 ELSE s.attempts END,
    call_id = CASE WHEN NOT done.delivered THEN s.call_id END,
    call_seq = CASE WHEN NOT done.delivered THEN s.call_seq END,
    last_error = done.error, lease_id = NULL
FROM done, agents_agentendpoint e
WHERE s.id = done.id AND s.lease_id = done.lease_id AND e.id = s.endpoint_id
RETURNING s.id, extract(epoch FROM s.due_at - now())::float8
"""

_HELD = """
WITH held AS MATERIALIZED (
  SELECT s.id FROM agents_deliverystream s
  JOIN unnest(%(stream_ids)s::bigint[], %(lease_ids)s::uuid[]) AS held (id, lease_id) USING (id, lease_id)
  ORDER BY s.id FOR NO KEY UPDATE OF s
)
"""

RENEW_LEASES = f"""{_HELD}
UPDATE agents_deliverystream s SET due_at = now() + %(lease_seconds)s * interval '1 second'
FROM held WHERE s.id = held.id RETURNING s.id
"""

RELEASE = f"""{_HELD}
UPDATE agents_deliverystream s SET due_at = now(), lease_id = NULL, attempts = s.attempts - 1
FROM held WHERE s.id = held.id
"""


async def mark_due(connection: Connection, conversation_ids: Sequence[int], sender_ids: Sequence[str]) -> int:
    """Note that these conversations have news: a pair of conversation and sender for each message that triggers.

    Call it in the append's transaction, after the conversations' counters have moved. Returns how many streams
    of agents have something to do.
    """
    parameters = {"conversation_ids": list(conversation_ids), "sender_ids": list(sender_ids)}
    cursor = await connection.execute(MARK_DUE_SQL, parameters)
    return cursor.rowcount


async def claim_due_streams(
    connection: Connection, *, limit: int, held: Mapping[int, int], lease_seconds: float
) -> list[ClaimedStream]:
    """Take up to `limit` due streams, as many as there are free places; `held` counts the calls of each endpoint.

    No endpoint gets so many that it would hold more places than are left (`rules.may_take_another`). The
    streams are this caller's alone until `lease_seconds` have passed. New calls get their id and upper seq here.
    """
    parameters = {
        "limit": limit,
        "full": [endpoint for endpoint, count in held.items() if not may_take_another(count, limit)],
        "endpoint_ids": list(held.keys()),
        "held": list(held.values()),
        "lease_id": uuid4(),
        "lease_seconds": lease_seconds,
        "new_messages": NEW_MESSAGES_PER_CALL,
    }
    cursor = await connection.execute(CLAIM_DUE_STREAMS, parameters)
    return [ClaimedStream(*row) for row in await cursor.fetchall()]


async def seconds_to_next_due(connection: Connection) -> float | None:
    """Seconds until the next stream is due or the next lease runs out; negative when that has passed.

    None: nothing is due.
    """
    row = await (await connection.execute(NEXT_DUE)).fetchone()
    return row[0] if row else None


async def finish(connection: Connection, finishes: Sequence[Finish]) -> dict[int, float | None]:
    """Give streams back: move cursors, plan retries, park, and log the attempts, all in one statement.

    Returns the streams that were still held, by id, with the seconds until they are due again (None: idle or
    parked).
    """
    columns = zip(*(_finish_row(finish) for finish in finishes), strict=True)
    cursor = await connection.execute(FINISH, dict(zip(_FINISH_COLUMNS, map(list, columns), strict=True)))
    return {row[0]: row[1] for row in await cursor.fetchall()}


_FINISH_COLUMNS = (
    *("stream_ids", "lease_ids", "delivered", "retry_in", "errors", "call_ids", "numbers", "from_seqs"),
    *("to_seqs", "run_ids", "outcomes", "statuses", "durations"),
)


def _finish_row(finish: Finish) -> tuple[object, ...]:
    stream, attempt = finish.stream, finish.attempt
    return (
        stream.id,
        stream.lease_id,
        finish.delivered,
        finish.retry_in,
        _storable(attempt.error) if attempt else "",
        stream.call_id,
        stream.attempt,
        stream.cursor + 1,
        stream.call_seq,
        attempt.run_id if attempt else None,
        attempt.outcome if attempt else None,
        attempt.status if attempt else None,
        attempt.duration_ms if attempt else None,
    )


def _storable(error: str) -> str:
    # An agent may have written this text: what Postgres cannot keep is taken out.
    return error.replace("\0", "").encode(errors="replace").decode()[:ERROR_CHARACTERS]


async def renew_leases(
    connection: Connection, streams: Sequence[ClaimedStream], lease_seconds: float
) -> set[int]:
    """Hold these for another `lease_seconds`; returns the ids of those that are still this dispatcher's."""
    cursor = await connection.execute(RENEW_LEASES, _held(streams) | {"lease_seconds": lease_seconds})
    return {row[0] for row in await cursor.fetchall()}


async def release(connection: Connection, streams: Sequence[ClaimedStream]) -> None:
    """Give these back untried: another dispatcher may have them at once."""
    await connection.execute(RELEASE, _held(streams))


def _held(streams: Sequence[ClaimedStream]) -> dict[str, list[int] | list[UUID] | float]:
    return {"stream_ids": [s.id for s in streams], "lease_ids": [s.lease_id for s in streams]}
