"""The circuit breaker of an endpoint: enough failures in a row open it, one call at a time probes it, a success closes it.

While it is open its streams wait outside the index of what is due, so that a dead endpoint costs the living
nothing. (Nygard, Release It!, 2nd edition, chapter 5.) The claim lets a probe through, see `agents/store.py`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from agents.calls import Finish
from agents.store import ERROR_CHARACTERS, storable

Connection = AsyncConnection[tuple[Any, ...]]

NOTE_EVERY_SECONDS = 10
"""A healthy endpoint's row is written this often, not at every call."""

RELEASED_PER_SECOND = 200
"""How fast the streams of an endpoint that is well again come back."""

LOCK_ENDPOINTS = """
SELECT FROM agents_endpoint WHERE id = ANY(%(endpoint_ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""

NOTE_SUCCESSES = """
WITH well AS MATERIALIZED (
  SELECT id, opened_at IS NOT NULL AS was_open FROM agents_endpoint
  WHERE id = ANY(%(endpoint_ids)s::bigint[])
    AND (failures > 0 OR opened_at IS NOT NULL OR last_success_at IS NULL
         OR last_success_at < now() - %(every)s * interval '1 second')
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE agents_endpoint e
SET failures = 0, opened_at = NULL, probe_at = NULL, probe_pause = 0, last_success_at = now()
FROM well WHERE e.id = well.id RETURNING e.id, well.was_open
"""

# `failures` counts across streams and dispatchers. Calls that were under way when it opened change nothing more.
NOTE_FAILURES = """
WITH sick AS MATERIALIZED (
  SELECT e.id, f.error, e.failures + f.count AS failures,
         e.opened_at IS NULL AND %(threshold)s > 0 AND e.failures + f.count >= %(threshold)s AS opens
  FROM unnest(%(endpoint_ids)s::bigint[], %(counts)s::int[], %(errors)s::text[]) AS f (id, count, error)
  JOIN agents_endpoint e ON e.id = f.id ORDER BY e.id FOR NO KEY UPDATE OF e
)
UPDATE agents_endpoint e
SET failures = sick.failures, last_failure_at = now(), last_error = sick.error,
    opened_at = CASE WHEN sick.opens THEN now() ELSE e.opened_at END,
    probe_at = CASE WHEN sick.opens THEN now() + %(pause)s * interval '1 second' ELSE e.probe_at END,
    probe_pause = CASE WHEN sick.opens THEN %(pause)s ELSE e.probe_pause END
FROM sick WHERE e.id = sick.id
RETURNING e.id, sick.opens
"""

# A range scan of `stream_blocked`. They come back over some seconds, the oldest first, not all at once.
RELEASE_BLOCKED = """
WITH waiting AS MATERIALIZED (
  SELECT id FROM agents_deliverystream WHERE endpoint_id = ANY(%(endpoint_ids)s::bigint[]) AND blocked
  ORDER BY id FOR NO KEY UPDATE
), placed AS (
  SELECT s.id, row_number() OVER (PARTITION BY s.endpoint_id ORDER BY s.waiting_since NULLS FIRST) AS place
  FROM waiting JOIN agents_deliverystream s ON s.id = waiting.id
)
UPDATE agents_deliverystream s
SET blocked = false,
    due_at = CASE WHEN s.lease_id IS NULL AND s.due_at IS NOT NULL
                  THEN now() + placed.place * interval '1 second' / %(per_second)s ELSE s.due_at END
FROM placed WHERE s.id = placed.id
"""

# The first entry of `stream_blocked` for each endpoint whose probe is due: the stream that would be given up first.
# One that another dispatcher has just brought, and perhaps taken, is left to it.
BRING_PROBES = """
WITH first AS MATERIALIZED (
  SELECT s.id FROM agents_endpoint e
  CROSS JOIN LATERAL (
    SELECT id FROM agents_deliverystream WHERE endpoint_id = e.id AND blocked ORDER BY due_at LIMIT 1
  ) one
  JOIN agents_deliverystream s ON s.id = one.id
  WHERE e.probe_at <= now() AND e.enabled AND s.blocked AND s.due_at > now()
  FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE agents_deliverystream s SET due_at = now() FROM first WHERE s.id = first.id
"""


@dataclass(frozen=True, slots=True)
class Breaker:
    """After how many failures in a row it opens (0: never), and the seconds until the first probe."""

    threshold: int
    pause: float


async def note_outcomes(
    connection: Connection, finishes: Sequence[Finish], held: Collection[int], breaker: Breaker
) -> tuple[set[int], set[int]]:
    """Count what calls came to, of the streams still held; returns the endpoints whose breaker opened, and closed."""
    successes, failures = _by_endpoint(finishes, held)
    opened: set[int] = set()
    closed: set[int] = set()
    if successes and failures:
        # Two dispatchers that lock first the well and then the sick may each wait for what the other has.
        await connection.execute(LOCK_ENDPOINTS, {"endpoint_ids": sorted(successes | failures.keys())})
    if successes:
        cursor = await connection.execute(
            NOTE_SUCCESSES, {"endpoint_ids": list(successes), "every": NOTE_EVERY_SECONDS}
        )
        closed = {row[0] for row in await cursor.fetchall() if row[1]}
    if failures:
        parameters = {
            "endpoint_ids": list(failures),
            "counts": [in_a_row for in_a_row, _ in failures.values()],
            "errors": [storable(error)[:ERROR_CHARACTERS] for _, error in failures.values()],
            "threshold": breaker.threshold,
            "pause": breaker.pause,
        }
        cursor = await connection.execute(NOTE_FAILURES, parameters)
        opened = {row[0] for row in await cursor.fetchall() if row[1]}
    if closed - opened:
        await release_blocked(connection, closed - opened)
    return opened - closed, closed - opened


async def release_blocked(connection: Connection, endpoint_ids: Collection[int]) -> None:
    """Let the streams of these endpoints come back."""
    parameters = {"endpoint_ids": list(endpoint_ids), "per_second": RELEASED_PER_SECOND}
    await connection.execute(RELEASE_BLOCKED, parameters)


async def bring_probes(connection: Connection) -> int:
    """Make one stream due of each endpoint that is to be probed; returns how many."""
    return (await connection.execute(BRING_PROBES)).rowcount


def _by_endpoint(
    finishes: Sequence[Finish], held: Collection[int]
) -> tuple[set[int], dict[int, tuple[int, str]]]:
    """The endpoints that answered; and of those that failed how often since they last answered, and the last error."""
    successes: set[int] = set()
    failures: dict[int, tuple[int, str]] = {}
    for finish in finishes:
        if finish.attempt is None or finish.attempt.ended_early or finish.stream.id not in held:
            continue
        endpoint_id = finish.stream.endpoint_id
        in_a_row, error = failures.get(endpoint_id, (0, ""))
        if finish.attempt.failed:
            failures[endpoint_id] = in_a_row + 1, finish.attempt.error
        else:
            successes.add(endpoint_id)
            if error:
                failures[endpoint_id] = 0, error
    return successes, failures
