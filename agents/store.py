"""Writes of delivery streams while they are being delivered: claim, renew, finish. All are fenced by the lease.

SQL for an async connection, each one statement. Whoever locks conversations locks them before streams, and
streams in id order: then nobody waits in a circle. What makes streams due is in `agents/marking.py`, what an
endpoint's failures do in `agents/breaker.py`, the cold writes in `agents/operations.py` and
`agents/registration.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from agents.calls import ClaimedStream, Finish
from agents.rules import MESSAGES_PER_EVENT, NEW_MESSAGES_PER_CALL, may_take_another

Connection = AsyncConnection[tuple[Any, ...]]

ERROR_CHARACTERS = 500

# A range scan of `stream_due`, which holds due streams only, stopped by the limit; what others have locked is skipped.
# The coalesce is for the planner, which would else think that next to nothing is left where one endpoint has most of
# the streams, and sort all that are due. An endpoint takes its next place only if it then holds no more than are left,
# and no more than it may; one that has all its places is stepped over, so that the others come into the limit. Where
# its breaker is open, one stream is let through when a probe is due, and those that would be given up have their last
# try; the others are set aside until the breaker closes, each touched once. The endpoint is locked meanwhile: who
# closes its breaker waits, and then sees them all. If it is being changed right now, its streams are left for the next
# look. The upper seq is fixed here, at the first attempt, from the same snapshot that showed the stream as due.
# `due_at` becomes the end of the lease.
CLAIM_DUE_STREAMS = """
WITH due AS MATERIALIZED (
  SELECT s.id, s.endpoint_id, s.due_at, s.first_failed_at
  FROM agents_deliverystream s
  WHERE s.due_at <= now() AND s.enabled AND NOT s.handed_over
    AND coalesce(s.endpoint_id <> ALL(%(full)s::bigint[]), true)
    AND coalesce(s.endpoint_id <> ALL(ARRAY(
      SELECT e.id FROM unnest(%(endpoint_ids)s::bigint[], %(held)s::int[]) AS busy (id, held)
      JOIN agents_endpoint e USING (id) WHERE busy.held >= e.max_in_flight)), true)
  ORDER BY s.due_at LIMIT %(limit)s
), judged AS MATERIALIZED (
  SELECT due.*, e.max_in_flight, coalesce(busy.held, 0) AS held,
         e.opened_at IS NOT NULL AS open, e.probe_at <= now() AS probe,
         coalesce(due.first_failed_at <= now() - %(give_up_after)s * interval '1 second', false) AS last_try
  FROM due
  JOIN agents_endpoint e ON e.id = due.endpoint_id
  LEFT JOIN unnest(%(endpoint_ids)s::bigint[], %(held)s::int[]) AS busy (endpoint_id, held) USING (endpoint_id)
), placed AS MATERIALIZED (
  SELECT judged.*, row_number() OVER (PARTITION BY endpoint_id ORDER BY last_try DESC, due_at) AS place FROM judged
), chosen AS MATERIALIZED (
  SELECT id, endpoint_id, open, open AND NOT last_try AND NOT (probe AND place = 1) AS set_aside
  FROM placed
  WHERE held + place <= least(%(limit)s - place + 1, coalesce(max_in_flight, %(limit)s)) OR (open AND NOT last_try)
), gated AS MATERIALIZED (
  SELECT e.id FROM agents_endpoint e
  WHERE e.id IN (SELECT endpoint_id FROM chosen WHERE open) AND e.opened_at IS NOT NULL
  FOR NO KEY UPDATE SKIP LOCKED
), mine AS MATERIALIZED (
  SELECT s.id, chosen.endpoint_id, chosen.open, chosen.set_aside, s.lease_id AS lost_lease, s.run_id AS lost_run,
         s.cancel_run_id
  FROM chosen JOIN agents_deliverystream s ON s.id = chosen.id
  WHERE s.due_at <= now() AND s.enabled AND NOT s.handed_over
    AND (NOT chosen.open OR chosen.endpoint_id IN (SELECT id FROM gated))
  FOR NO KEY UPDATE OF s SKIP LOCKED
), probing AS (
  UPDATE agents_endpoint e
  SET probe_at = now() + e.probe_pause * 2 * interval '1 second', probe_pause = least(e.probe_pause * 2, %(probe_pause_max)s)
  WHERE e.id IN (SELECT endpoint_id FROM mine WHERE open AND NOT set_aside)
), aside AS (
  UPDATE agents_deliverystream s
  SET blocked = true, lease_id = NULL, run_id = NULL, first_failed_at = coalesce(s.first_failed_at, now()),
      due_at = coalesce(s.first_failed_at, now()) + %(give_up_after)s * interval '1 second'
  FROM mine WHERE s.id = mine.id AND mine.set_aside RETURNING s.id
), claimed AS (
UPDATE agents_deliverystream s
SET lease_id = %(lease_id)s,
    run_id = gen_random_uuid(),
    due_at = now() + %(lease_seconds)s * interval '1 second',
    blocked = false,
    call_id = coalesce(s.call_id, gen_random_uuid()),
    call_seq = coalesce(s.call_seq, CASE
      WHEN e.event = 'inbox.updated' THEN s.wanted_seq
      ELSE least(coalesce(s.replay_to, c.last_seq),
                 coalesce(s.replay_cursor, s.cursor)
                   + CASE WHEN e.event = '' THEN %(new_messages)s ELSE %(event_messages)s END)
    END),
    attempts = s.attempts + 1
FROM mine, agents_endpoint e, conversations_conversation c
WHERE s.id = mine.id AND NOT mine.set_aside AND e.id = s.endpoint_id AND c.id = s.conversation_id
RETURNING s.id, s.lease_id, coalesce(s.replay_cursor, s.cursor) AS done, s.call_id, s.call_seq, s.run_id,
  CASE WHEN mine.lost_lease IS NOT NULL THEN mine.lost_run END AS lost_run,
  mine.lost_lease IS NOT NULL AND coalesce(mine.cancel_run_id = mine.lost_run, false) AS lost_run_cancelled,
  s.attempts, s.first_failed_at, extract(epoch FROM now() - s.waiting_since)::float8 AS waiting,
  s.call_seq < c.last_seq AS behind, s.agent_id, s.endpoint_id,
  coalesce(s.agent_id, 'subscription-' || e.public_id) AS name, e.url, e.dialect, e.options, e.context_messages,
  e.context_tokens, e.while_running = 'interrupt' AND s.call_seq >= c.last_seq AS interruptible, e.max_in_flight,
  e.timeout_seconds, e.secrets, e.sealed, e.event,
  e.participant_id, e.message_kinds, c.id AS conversation_id, c.key, c.kind, c.epoch
)
SELECT aside.count, claimed.* FROM (SELECT count(*) FROM aside) aside LEFT JOIN claimed ON true
"""

# The first entry of `stream_due` that a claim would take: one that came to rest while its dispatcher died is none.
NEXT_DUE = """
SELECT extract(epoch FROM due_at - now())::float8 FROM agents_deliverystream
WHERE due_at IS NOT NULL AND enabled AND NOT handed_over ORDER BY due_at LIMIT 1
"""

# Probes of the primary key, the locks in id order. An append that holds one of the rows is waited for, and the
# row is then read anew: `wanted_seq` is the newest. A lost lease matches nothing, so it changes nothing and logs
# no attempt. A replay that ends leaves the cursor alone.
FINISH = """
WITH done AS MATERIALIZED (
  SELECT s.id, d.*
  FROM unnest(%(stream_ids)s::bigint[], %(lease_ids)s::uuid[], %(endings)s::text[], %(retry_in)s::float8[],
              %(errors)s::text[], %(call_ids)s::uuid[], %(numbers)s::int[], %(from_seqs)s::bigint[],
              %(to_seqs)s::bigint[], %(run_ids)s::uuid[], %(outcomes)s::text[], %(statuses)s::int[],
              %(durations)s::int[], %(requests)s::text[], %(responses)s::text[])
    AS d (stream_id, lease_id, ending, retry_in, error, call_id, number, from_seq, to_seq,
          run_id, outcome, status, duration_ms, request, response)
  JOIN agents_deliverystream s ON s.id = d.stream_id AND s.lease_id = d.lease_id
  ORDER BY s.id
  FOR NO KEY UPDATE OF s
), logged AS (
  INSERT INTO agents_attempt
    (stream_id, call_id, run_id, number, from_seq, to_seq, outcome, status, duration_ms, error, request, response)
  SELECT stream_id, call_id, run_id, number, from_seq, to_seq, outcome, status, duration_ms, error, request, response
  FROM done WHERE outcome IS NOT NULL
), ended AS MATERIALIZED (
  SELECT s.id, done.lease_id, done.error, done.retry_in, done.ending,
         done.ending = 'delivered' AS delivered,
         done.ending IN ('delivered', 'hold') AS call_over,
         CASE WHEN done.ending = 'delivered' AND s.replay_to IS NULL THEN s.call_seq ELSE s.cursor END AS cursor,
         CASE WHEN done.ending = 'delivered' AND s.call_seq < s.replay_to THEN s.call_seq
              WHEN done.ending <> 'delivered' THEN s.replay_cursor END AS replay_cursor
  FROM done JOIN agents_deliverystream s ON s.id = done.id
)
UPDATE agents_deliverystream s
SET cursor = ended.cursor,
    replay_cursor = ended.replay_cursor,
    replay_to = CASE WHEN ended.replay_cursor IS NOT NULL THEN s.replay_to END,
    due_at = CASE WHEN NOT s.enabled OR s.handed_over THEN NULL
                  WHEN ended.ending = 'retry' THEN now() + ended.retry_in * interval '1 second'
                  WHEN ended.delivered AND (ended.replay_cursor IS NOT NULL OR s.wanted_seq > ended.cursor) THEN now()
                  WHEN ended.ending = 'hold' AND s.wanted_seq > s.call_seq THEN now() END,
    waiting_since = CASE WHEN NOT ended.delivered THEN s.waiting_since WHEN s.wanted_seq > ended.cursor THEN now() END,
    parked_at = CASE WHEN ended.ending = 'park' THEN now() END,
    park_reason = CASE WHEN ended.ending = 'park' THEN 'exhausted' ELSE '' END,
    first_failed_at = CASE WHEN NOT ended.call_over THEN coalesce(s.first_failed_at, now()) END,
    attempts = CASE WHEN ended.call_over THEN 0 ELSE s.attempts END,
    call_id = CASE WHEN NOT ended.call_over THEN s.call_id END,
    call_seq = CASE WHEN NOT ended.call_over THEN s.call_seq END,
    last_error = ended.error, lease_id = NULL, run_id = NULL, cancel_run_id = NULL
FROM ended
WHERE s.id = ended.id AND s.lease_id = ended.lease_id
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

# What someone has cancelled keeps its lease, which has run out: whoever claims it then sees that and ends it.
RELEASE = f"""{_HELD}
UPDATE agents_deliverystream s
SET due_at = CASE WHEN s.enabled AND NOT s.handed_over THEN now() END,
    lease_id = CASE WHEN s.cancel_run_id = s.run_id AND s.enabled AND NOT s.handed_over THEN s.lease_id END,
    run_id = CASE WHEN s.cancel_run_id = s.run_id AND s.enabled AND NOT s.handed_over THEN s.run_id END,
    attempts = greatest(s.attempts - 1, 0)
FROM held WHERE s.id = held.id
"""

# Probes of the primary key for the calls under way that someone may want to end.
WANTED_TO_END = """
SELECT s.id, coalesce(s.cancel_run_id = s.run_id, false), s.wanted_seq > s.call_seq
FROM agents_deliverystream s
JOIN unnest(%(stream_ids)s::bigint[], %(lease_ids)s::uuid[]) AS held (id, lease_id) USING (id, lease_id)
WHERE s.cancel_run_id = s.run_id OR s.wanted_seq > s.call_seq
"""

# By the unique pair's index: the streams of one conversation.
REQUEST_CANCEL = """
UPDATE agents_deliverystream SET cancel_run_id = run_id
WHERE conversation_id = %s AND run_id = %s AND lease_id IS NOT NULL
"""


async def claim_due_streams(
    connection: Connection,
    *,
    limit: int,
    held: Mapping[int, int],
    lease_seconds: float,
    give_up_after: float,
    probe_pause_max: float,
) -> tuple[list[ClaimedStream], int]:
    """Take up to `limit` due streams, as many as there are free places; `held` counts the calls of each endpoint.

    No endpoint gets so many that it would hold more places than are left (`rules.may_take_another`), or more
    than it may have in flight. The streams are this caller's alone until `lease_seconds` have passed. New calls
    get their id and upper seq here. Streams of an endpoint whose breaker is open are set aside; how many is the
    second value. `give_up_after` is the age of a failure, in seconds, at which a stream has its last try;
    `probe_pause_max` the longest pause between probes, which doubles with each.
    """
    parameters = {
        "limit": limit,
        "full": [endpoint for endpoint, count in held.items() if not may_take_another(count, limit)],
        "endpoint_ids": list(held.keys()),
        "held": list(held.values()),
        "lease_id": uuid4(),
        "lease_seconds": lease_seconds,
        "give_up_after": give_up_after,
        "probe_pause_max": probe_pause_max,
        "new_messages": NEW_MESSAGES_PER_CALL,
        "event_messages": MESSAGES_PER_EVENT,
    }
    cursor = await connection.execute(CLAIM_DUE_STREAMS, parameters)
    rows = await cursor.fetchall()
    return [ClaimedStream(*row[1:]) for row in rows if row[1] is not None], rows[0][0]


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
    *("stream_ids", "lease_ids", "endings", "retry_in", "errors", "call_ids", "numbers", "from_seqs"),
    *("to_seqs", "run_ids", "outcomes", "statuses", "durations", "requests", "responses"),
)


def _finish_row(finish: Finish) -> tuple[object, ...]:
    stream, attempt = finish.stream, finish.attempt
    return (
        stream.id,
        stream.lease_id,
        finish.ending.value,
        finish.retry_in,
        storable(attempt.error)[:ERROR_CHARACTERS] if attempt else "",
        stream.call_id,
        stream.attempt,
        stream.cursor + 1,
        stream.call_seq,
        stream.run_id,
        attempt.outcome if attempt else None,
        attempt.status if attempt else None,
        attempt.duration_ms if attempt else None,
        storable(attempt.request) if attempt else "",
        storable(attempt.response) if attempt else "",
    )


def storable(text: str) -> str:
    """The text without what Postgres cannot keep: an agent may have written it."""
    return text.replace("\0", "").encode(errors="replace").decode()


async def renew_leases(
    connection: Connection, streams: Sequence[ClaimedStream], lease_seconds: float
) -> set[int]:
    """Hold these for another `lease_seconds`; returns the ids of those that are still this dispatcher's."""
    cursor = await connection.execute(RENEW_LEASES, _held(streams) | {"lease_seconds": lease_seconds})
    return {row[0] for row in await cursor.fetchall()}


async def release(connection: Connection, streams: Sequence[ClaimedStream]) -> None:
    """Give these back untried: another dispatcher may have them at once."""
    await connection.execute(RELEASE, _held(streams))


async def wanted_to_end(
    connection: Connection, streams: Sequence[ClaimedStream]
) -> dict[int, tuple[bool, bool]]:
    """Which of these held streams someone wants to end: by id, whether cancelled, and whether there is news."""
    cursor = await connection.execute(WANTED_TO_END, _held(streams))
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def request_cancel(connection: Connection, conversation_id: int, run_id: UUID) -> bool:
    """Have a run of this conversation ended by whoever makes it, now or after a restart; False if there is none."""
    return bool((await connection.execute(REQUEST_CANCEL, (conversation_id, run_id))).rowcount)


def _held(streams: Sequence[ClaimedStream]) -> dict[str, list[int] | list[UUID] | float]:
    return {"stream_ids": [s.id for s in streams], "lease_ids": [s.lease_id for s in streams]}
