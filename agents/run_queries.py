"""Which runs are under way. SQL for an async connection."""

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

Connection = AsyncConnection[tuple[Any, ...]]

# A prefix of the index of `stream_once`: the streams of one conversation, one for each endpoint.
ACTIVE_RUNS = """
SELECT run_id, agent_id FROM agents_deliverystream
WHERE conversation_id = %s AND lease_id IS NOT NULL AND run_id IS NOT NULL AND agent_id IS NOT NULL AND due_at > now()
ORDER BY id
"""


async def active_runs(connection: Connection, conversation_id: int) -> list[tuple[UUID, str]]:
    """The runs of a conversation that a dispatcher makes now, each with its agent; subscriptions have none."""
    return await (await connection.execute(ACTIVE_RUNS, (conversation_id,))).fetchall()
