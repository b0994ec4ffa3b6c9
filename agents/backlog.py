"""What waits for endpoints, counted for a page of them in one statement. Synchronous: for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import OperationalError, connection, transaction

from agents.models import Endpoint

STREAMS_COUNTED: Final = 10_000
"""Streams are counted up to here; an endpoint may have millions."""

MILLISECONDS: Final = 2_000
"""A count that takes longer is given up: an operator looks again, the deliveries come first."""

# What waits is found by `stream_due`, what is parked by the endpoint's index; streams that are up to date are not
# visited. Those of a disabled endpoint are in no such index: they are looked through, for it alone.
BACKLOGS: Final = """
WITH behind AS (
  SELECT endpoint_id, parked_at, lease_id, waiting_since, wanted_seq - cursor AS lag FROM agents_deliverystream
  WHERE endpoint_id = ANY(%(ids)s::bigint[]) AND (due_at IS NOT NULL OR parked_at IS NOT NULL)
  UNION ALL
  SELECT endpoint_id, parked_at, lease_id, waiting_since, wanted_seq - cursor FROM agents_deliverystream
  WHERE endpoint_id = ANY(%(disabled)s::bigint[]) AND due_at IS NULL AND parked_at IS NULL AND wanted_seq > cursor
), summed AS (
  SELECT endpoint_id, count(*) FILTER (WHERE parked_at IS NULL AND lease_id IS NULL) AS waiting,
         count(parked_at) AS parked, sum(greatest(lag, 0))::bigint AS lag, min(waiting_since) AS oldest
  FROM behind GROUP BY endpoint_id
)
SELECT e.id, streams.count, coalesce(waiting, 0), coalesce(parked, 0), coalesce(lag, 0), oldest
FROM unnest(%(ids)s::bigint[]) AS e (id)
CROSS JOIN LATERAL (
  SELECT count(*) FROM (SELECT FROM agents_deliverystream WHERE endpoint_id = e.id LIMIT %(counted)s + 1) capped
) AS streams
LEFT JOIN summed ON summed.endpoint_id = e.id
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """One endpoint's: how many streams it has and what they have not got."""

    streams: int
    """At most `STREAMS_COUNTED` + 1, which means: more."""
    waiting: int
    """Streams that are due, retried, set aside by the breaker or held back because the endpoint is disabled."""
    parked: int
    lag: int
    """Messages, of streams that wait, are being called or are parked."""
    oldest: datetime | None
    """Since when the oldest of those messages waits."""


def backlogs(endpoints: Sequence[Endpoint]) -> dict[int, Backlog]:
    """The backlog of each of them, by its id. Empty if counting takes too long."""
    parameters: dict[str, Any] = {
        "ids": [endpoint.id for endpoint in endpoints],
        "disabled": [endpoint.id for endpoint in endpoints if not endpoint.enabled],
        "counted": STREAMS_COUNTED,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {MILLISECONDS}")
            cursor.execute(BACKLOGS, parameters)
            found = {row[0]: Backlog(*row[1:]) for row in cursor.fetchall()}
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError:  # its `query_canceled` is one
        return {}
    return found
