"""Agents with work to do, and dead ones; written by the models in bulk."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from agents.models import DeliveryStream, Endpoint
from agents.registration import register_agent
from bench.seed import dms, make
from conversations import rules
from conversations.models import Conversation, Message


def talker(agent_id: str, url: str, askers: Sequence[str]) -> list[str]:
    """An agent in a dm with each of these, called with the newest message only; returns the keys of the dms."""
    keys = dms((asker, agent_id) for asker in askers)
    register_agent(agent_id, url, context_messages=1)
    return keys


def agent(agent_id: str, url: str, conversations: int) -> str:
    """An agent with so many dms of one message each, none of them due; returns its signing secret."""
    registered = register_agent(agent_id, url)
    pairs = {rules.dm_key(agent_id, f"asker-{n}"): (agent_id, f"asker-{n}") for n in range(conversations)}
    make(Conversation.Kind.DM, pairs)
    made = list(Conversation.objects.filter(key__in=pairs))
    Message.objects.bulk_create(
        Message(
            conversation=one,
            seq=1,
            countable=1,
            sender_id=pairs[one.key][1],
            text="Where is my parcel?",
            created_at=timezone.now(),
        )
        for one in made
    )
    Conversation.objects.filter(id__in=[one.id for one in made]).update(last_seq=1, countable=1)
    endpoint = registered.endpoint
    DeliveryStream.objects.bulk_create(
        DeliveryStream(endpoint=endpoint, agent_id=agent_id, conversation=one, cursor=1, wanted_seq=1)
        for one in made
    )
    return registered.secret


# Raw, since there are many: conversations of an agent that is dead, half of them given up, half waiting for its breaker.
_DEAD_CONVERSATIONS = """
INSERT INTO conversations_conversation (key, epoch, kind, state, title, metadata, last_seq, countable, handed_to, version)
SELECT 'dead-' || n, gen_random_uuid(), 'group', 'open', '', '{}', 1, 1, '', 1 FROM generate_series(1, %s) n
"""
_DEAD_MESSAGES = """
INSERT INTO conversations_message
  (id, conversation_id, seq, countable, sender_id, kind, text, content, metadata, mentions, created_at)
SELECT gen_random_uuid(), id, 1, 1, 'asker-0', 'text', 'Is anybody there?', '{}', '{}', '[]', now()
FROM conversations_conversation WHERE key LIKE 'dead-%'
"""
_DEAD_STREAMS = """
INSERT INTO agents_deliverystream
  (endpoint_id, agent_id, conversation_id, enabled, handed_over, trigger, cursor, wanted_seq, attempts, first_failed_at,
   blocked, due_at, parked_at, park_reason, last_error)
SELECT e.id, e.agent_id, c.id, true, false, '', 0, 1, 3, now(),
       c.id %% 2 = 0, CASE c.id %% 2 WHEN 0 THEN now() + interval '2 days' END, CASE c.id %% 2 WHEN 1 THEN now() END,
       CASE c.id %% 2 WHEN 1 THEN 'exhausted' ELSE '' END, 'It hung up.'
FROM conversations_conversation c, agents_endpoint e WHERE c.key LIKE 'dead-%%' AND e.agent_id = %s
"""


def dead_agent(agent_id: str, conversations: int) -> None:
    """An agent whose breaker is open, with so many conversations; its streams are `bury`'s business."""
    register_agent(agent_id, "http://127.0.0.1:9/")
    in_an_hour = timezone.now() + timedelta(hours=1)
    Endpoint.objects.filter(agent_id=agent_id).update(opened_at=timezone.now(), probe_at=in_an_hour)
    with connection.cursor() as cursor:
        cursor.execute(_DEAD_CONVERSATIONS, [conversations])
        cursor.execute(_DEAD_MESSAGES)


def bury(agent_id: str) -> int:
    """Give the dead agent a stream for each of its conversations; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_DEAD_STREAMS, [agent_id])
        return int(cursor.rowcount)


def dig_up(agent_id: str) -> None:
    """Take the dead agent's streams away again, and what they leave in the table."""
    DeliveryStream.objects.filter(agent_id=agent_id).delete()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE agents_deliverystream")


def make_due(agent_id: str) -> None:
    """Let the agent be called once more for each of its conversations."""
    DeliveryStream.objects.filter(agent_id=agent_id).update(cursor=0, due_at=timezone.now())


def undelivered(agent_id: str) -> int:
    """How many of the agent's conversations have not been delivered, or not given back."""
    return (
        DeliveryStream.objects.filter(agent_id=agent_id).exclude(cursor=1, due_at=None, lease_id=None).count()
    )
