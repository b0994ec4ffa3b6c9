"""Which runs are under way. SQL for an async connection."""

from uuid import UUID

from conversations.connection import Runner, Statement

# A prefix of the index of `stream_once`: the streams of one conversation, one for each endpoint.
ACTIVE_RUNS = Statement("""
SELECT run_id, agent_id FROM agents_deliverystream
WHERE conversation_id = $1 AND lease_id IS NOT NULL AND run_id IS NOT NULL AND agent_id IS NOT NULL AND due_at > now()
ORDER BY id
""")


async def active_runs(runner: Runner, conversation_id: int) -> list[tuple[UUID, str]]:
    """The runs of a conversation that a dispatcher makes now, each with its agent; subscriptions have none."""
    (found,) = await runner.run(ACTIVE_RUNS(conversation_id))
    return [(run_id, agent_id) for run_id, agent_id in found.rows]
