"""Agents come, change and go: the participant, its endpoint and its streams in one transaction. Synchronous, with the ORM."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from agents import operations, secrets, signing
from agents.models import AgentEndpoint, DeliveryStream
from conversations.errors import Conflict, NotFound
from conversations.models import Conversation, Participant
from conversations.rules import check_id


@dataclass(frozen=True, slots=True)
class Registered:
    """A new endpoint, and its signing secret in plain: the only time that it can be shown."""

    endpoint: AgentEndpoint
    secret: str


@transaction.atomic
def register_agent(
    agent_id: str,
    url: str,
    *,
    dialect: str = AgentEndpoint.Dialect.WEBHOOK,
    context_messages: int | None = 50,
    debounce_ms: int = 0,
    display_name: str = "",
    metadata: dict[str, Any] | None = None,
) -> Registered:
    """Make this participant an agent that is called at `url`, from the next message of its conversations on.

    The participant may be known already, as one that was written to before it was registered. Raises
    `Conflict` if it has an endpoint.
    """
    participant = _become_agent(check_id(agent_id))
    if AgentEndpoint.objects.filter(agent=participant).exists():
        raise Conflict("This agent is registered already; change it with PATCH.", id=agent_id)
    participant.display_name = display_name or participant.display_name
    participant.metadata = participant.metadata if metadata is None else metadata
    participant.save()
    secret = signing.generate_secret()
    endpoint = AgentEndpoint.objects.create(
        agent=participant,
        url=url,
        dialect=dialect,
        context_messages=context_messages,
        debounce_ms=debounce_ms,
        secrets=[secrets.seal(secret)],
    )
    for conversation in Conversation.objects.filter(memberships__participant=participant).iterator():
        operations.open_streams(conversation.id, [agent_id], conversation.last_seq)
    return Registered(endpoint, secret)


def _become_agent(agent_id: str) -> Participant:
    """The participant, now of kind agent, locked together with its conversations: no append comes in between.

    Conversations are locked before participants, as membership changes do; those that came meanwhile are
    locked too.
    """
    Participant.objects.bulk_create([Participant(id=agent_id, kind="agent")], ignore_conflicts=True)
    locked: set[int] = set()
    while missing := _conversation_ids(agent_id) - locked:
        locked |= _lock_conversations(missing)
    participant = Participant.objects.select_for_update(no_key=True).get(id=agent_id)
    if _conversation_ids(agent_id) - locked:
        raise Conflict("The agent is being added to conversations right now; try again.", id=agent_id)
    if participant.kind == Participant.Kind.SYSTEM:
        raise Conflict("A system participant cannot become an agent.", id=agent_id)
    participant.kind = Participant.Kind.AGENT
    return participant


def _conversation_ids(participant_id: str) -> set[int]:
    memberships = Conversation.objects.filter(memberships__participant_id=participant_id)
    return set(memberships.values_list("id", flat=True))


def _lock_conversations(conversation_ids: Iterable[int]) -> set[int]:
    rows = Conversation.objects.select_for_update(no_key=True).filter(id__in=conversation_ids).order_by("id")
    return set(rows.values_list("id", flat=True))


@transaction.atomic
def update_agent(agent_id: str, **changes: Any) -> AgentEndpoint:
    """Change an endpoint (`url`, `dialect`, `context_messages`, `debounce_ms`, `enabled`) or its participant
    (`display_name`, `metadata`). Raises `NotFound`.

    A disabled agent is not called; enabled again, it gets what came in meanwhile.
    """
    endpoint = AgentEndpoint.objects.select_for_update(no_key=True).filter(agent_id=agent_id).first()
    if endpoint is None:
        raise NotFound("There is no agent with this id.", id=agent_id)
    was_enabled = endpoint.enabled
    for name, value in changes.items():
        setattr(endpoint.agent if name in ("display_name", "metadata") else endpoint, name, value)
    endpoint.agent.save()
    endpoint.save()
    if endpoint.enabled != was_enabled:
        _follow_enabled(endpoint)
    return endpoint


def _follow_enabled(endpoint: AgentEndpoint) -> None:
    """Disabled, its waiting streams leave the index of due ones; enabled, those with news come back."""
    streams = operations.lock_in_order(DeliveryStream.objects.filter(endpoint=endpoint))
    streams.update(enabled=endpoint.enabled)
    waiting = streams.filter(lease_id__isnull=True, parked_at__isnull=True)
    if endpoint.enabled:
        waiting.filter(due_at__isnull=True, wanted_seq__gt=F("cursor")).update(due_at=Now())
    else:
        waiting.filter(due_at__isnull=False).update(due_at=None)


@transaction.atomic
def delete_agent(agent_id: str) -> None:
    """Take the endpoint and its streams away: the agent is called no more. The participant, its memberships
    and its messages stay, so that it can speak by REST and be registered again. Raises `NotFound`.
    """
    operations.lock_in_order(DeliveryStream.objects.filter(agent_id=agent_id))
    deleted, _ = AgentEndpoint.objects.filter(agent_id=agent_id).delete()
    if not deleted:
        raise NotFound("There is no agent with this id.", id=agent_id)
