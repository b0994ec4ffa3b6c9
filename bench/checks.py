"""What must hold in Postgres: acknowledged is stored, once, and every log is 1, 2, 3 … to its head."""

from collections.abc import Mapping, Sequence

from django.db import connection

ACKNOWLEDGED_STORED = """
SELECT count(*) FROM unnest(%s::text[], %s::bigint[], %s::uuid[]) AS acknowledged (key, seq, id)
JOIN conversations_conversation c ON c.key = acknowledged.key
JOIN conversations_message m ON m.conversation_id = c.id AND m.seq = acknowledged.seq AND m.id = acknowledged.id
"""

# Client ids of drivers begin with the name of their run: `run17-…`.
STORED_BY_RUN = """
SELECT split_part(client_id, '-', 1), count(*) FROM conversations_message WHERE client_id LIKE 'run%' GROUP BY 1
"""

BROKEN_LOGS = """
SELECT c.key FROM conversations_conversation c
LEFT JOIN (
  SELECT conversation_id, count(*) AS stored, min(seq) AS first, max(seq) AS last FROM conversations_message GROUP BY 1
) log ON log.conversation_id = c.id
WHERE NOT (
  coalesce(log.first, 1) = 1 AND coalesce(log.last, 0) = coalesce(log.stored, 0) AND coalesce(log.last, 0) = c.last_seq
)
ORDER BY 1
"""
SHOWN = 10


def acknowledged(entries: Sequence[tuple[str, int, str]]) -> list[str]:
    """What is wrong with these acknowledgements (key, seq, id): nothing, or a sentence."""
    if not entries:
        return []
    with connection.cursor() as cursor:
        cursor.execute(ACKNOWLEDGED_STORED, [list(column) for column in zip(*entries, strict=True)])
        (found,) = cursor.fetchone() or (0,)
    missing = len(entries) - found
    return [f"{missing} acknowledged messages are not stored as acknowledged"] if missing else []


def runs(expected: Mapping[str, int]) -> dict[str, str]:
    """Of each run (name → messages acknowledged) that has stored more or fewer messages: what is wrong with it."""
    with connection.cursor() as cursor:
        cursor.execute(STORED_BY_RUN)
        stored = dict(cursor.fetchall())
    return {
        run: f"{stored.get(run, 0)} messages are stored, {expected.get(run, 0)} were acknowledged"
        for run in expected.keys() | stored.keys()
        if stored.get(run, 0) != expected.get(run, 0)
    }


def logs() -> list[str]:
    """The faults of all logs there are, the first ones of them."""
    with connection.cursor() as cursor:
        cursor.execute(BROKEN_LOGS)
        broken = [key for (key,) in cursor.fetchall()]
    faults = [f"the log of {key} is not 1, 2, 3 … to its head" for key in broken[:SHOWN]]
    return [*faults, f"and {len(broken) - SHOWN} more logs"] if len(broken) > SHOWN else faults
