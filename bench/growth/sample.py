"""What is asked of a filled database: ids and keys of what `load` has put there, drawn at random but the same each time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import psycopg

from bench.growth.shape import AGENT, ENORMOUS, HEAVY, Shape

ASKED = 10_000
"""So many conversations are written to, drawn from all."""

_ORDINARY = """
SELECT c.id, c.key, min(m.participant_id) FROM conversations_conversation c
JOIN conversations_membership m ON m.conversation_id = c.id
WHERE c.kind = ANY(%s::text[]) AND c.last_seq > 0 AND c.key <> %s AND starts_with(c.key, %s) GROUP BY c.id ORDER BY c.id
"""
_ONE = "SELECT id FROM conversations_conversation WHERE key = %s"


@dataclass(frozen=True, slots=True)
class Sample:
    """Places to read and write."""

    enormous_id: int
    enormous_seq: int
    conversations: Sequence[tuple[int, str, str]]
    """(id, key, a member) of ordinary conversations."""
    heavy: Sequence[int]
    """Conversations of the large inbox."""
    groups: Sequence[tuple[int, str, str]]
    stored: Sequence[tuple[str, str, str]]
    """(key, sender, client_id) of messages that are stored."""
    random: Random = field(default_factory=lambda: Random(20))


def take(url: str, shape: Shape) -> Sample:
    """A sample of the database."""
    with psycopg.connect(url) as connection:
        every = connection.execute(_ORDINARY, (["dm", "group"], ENORMOUS, "")).fetchall()
        groups = connection.execute(_ORDINARY, (["group"], ENORMOUS, "")).fetchall()
        heavy = connection.execute(_ORDINARY, (["dm"], ENORMOUS, f"{HEAVY}:")).fetchall()
        enormous = connection.execute(_ONE, (ENORMOUS,)).fetchone()
        assert enormous
        chosen = Random(7).sample(every, min(ASKED, len(every)))
        stored = connection.execute(
            "SELECT c.key, m.sender_id, m.client_id FROM conversations_message m"
            " JOIN conversations_conversation c ON c.id = m.conversation_id"
            " WHERE m.conversation_id = ANY(%s) AND m.client_id IS NOT NULL AND m.seq = 1",
            ([one[0] for one in chosen[:50]],),
        ).fetchall()
    assert len(heavy) == shape.inbox, f"{HEAVY} has {len(heavy)} conversations"
    assert any(AGENT in key for _, key, _ in every)
    return Sample(
        enormous[0], shape.messages // shape.stride, chosen, [one[0] for one in heavy], groups, stored
    )
