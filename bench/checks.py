"""What must hold in Postgres after a run: acknowledged is stored, and every log is 1, 2, 3 … to its head."""

from collections.abc import Sequence

from django.db import connection

ACKNOWLEDGED_STORED = """
SELECT count(*) FROM unnest(%s::text[], %s::bigint[], %s::uuid[]) AS acknowledged (key, seq, id)
JOIN conversations_conversation c ON c.key = acknowledged.key
JOIN conversations_message m ON m.conversation_id = c.id AND m.seq = acknowledged.seq AND m.id = acknowledged.id
"""

STORED_BY_RUN = "SELECT count(*) FROM conversations_message WHERE client_id LIKE %s"

BROKEN_LOGS = """
SELECT c.key FROM conversations_conversation c
LEFT JOIN LATERAL (
  SELECT count(*) AS stored, coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last
  FROM conversations_message m WHERE m.conversation_id = c.id
) log ON true
WHERE NOT (log.first = 1 AND log.last = log.stored AND log.last = c.last_seq)
"""


def appends(run: str, acknowledged: Sequence[tuple[str, int, str]]) -> list[str]:
    """What is wrong after a run whose client ids begin with `run`: nothing, or a sentence for each fault."""
    faults = []
    with connection.cursor() as cursor:
        if acknowledged:
            cursor.execute(ACKNOWLEDGED_STORED, [list(column) for column in zip(*acknowledged, strict=True)])
            (found,) = cursor.fetchone() or (0,)
            if found != len(acknowledged):
                faults.append(
                    f"{len(acknowledged) - found} acknowledged messages are not stored as acknowledged"
                )
        cursor.execute(STORED_BY_RUN, [f"{run}-%"])
        (stored,) = cursor.fetchone() or (0,)
        if stored != len(acknowledged):
            faults.append(f"{stored} messages are stored, {len(acknowledged)} were acknowledged")
        cursor.execute(BROKEN_LOGS)
        faults += [f"the log of {key} is not 1, 2, 3 … to its head" for (key,) in cursor.fetchall()]
    return faults
