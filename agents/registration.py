"""Agents come, change and go: the participant, its endpoint and its streams in one transaction. Synchronous, with the ORM."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from agents import endpoints, operations, secrets, signing
from agents.models import AgentEndpoint
from conversations.errors import Conflict
from conversations.models import Conversation, Participant
from conversations.rules import check_id

_OF_THE_PARTICIPANT = ("display_name", "metadata")


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
    display_name: str = "",
    metadata: dict[str, Any] | None = None,
    private: secrets.Private | None = None,
    **settings: Any,
) -> Registered:
    """Make this participant an agent that is called at `url`, from the next message of its conversations on.

    `settings` are fields of `agents.models.Endpoint`. The participant may be known already, as one that was
    written to before it was registered. Raises `Conflict` if it has an endpoint.
    """
    participant = _become_agent(check_id(agent_id))
    if AgentEndpoint.objects.filter(agent=participant).exists():
        raise Conflict("This agent is registered already; change it with PATCH.", id=agent_id)
    participant.display_name = display_name or participant.display_name
    participant.metadata = participant.metadata if metadata is None else metadata
    participant.save()
    secret = signing.generate_secret()
    endpoint = AgentEndpoint(agent=participant, url=url, secrets=[secrets.seal(secret)], **settings)
    endpoints.keep_private(endpoint, private or secrets.Private())
    endpoint.save()
    for conversation in Conversation.objects.filter(memberships__participant=participant).iterator():
        operations.open_streams(conversation, [agent_id])
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
def update_agent(agent_id: str, *, private: dict[str, Any] | None = None, **changes: Any) -> AgentEndpoint:
    """Change an endpoint's fields, or its participant's `display_name` and `metadata`. Raises `NotFound`.

    `private` changes `headers` or `api_key`, those of them that it holds. A disabled agent is not called; enabled
    again, it gets what came in meanwhile.
    """
    endpoint = _locked(agent_id)
    of_the_participant = {name: changes.pop(name) for name in _OF_THE_PARTICIPANT if name in changes}
    if of_the_participant:
        for name, value in of_the_participant.items():
            setattr(endpoint.agent, name, value)
        endpoint.agent.save()  # type: ignore[union-attr]  # an agent's endpoint has one
    endpoints.change(endpoint, changes, private or {})
    return endpoint


@transaction.atomic
def rotate_secret(agent_id: str, now: datetime, overlap_seconds: float) -> str:
    """A new signing secret; the one before signs beside it for so long. Raises `NotFound`."""
    return endpoints.rotate(_locked(agent_id), now, overlap_seconds)


def find_agent(agent_id: str) -> AgentEndpoint:
    """The agent's endpoint; raises `NotFound`."""
    return endpoints.found(AgentEndpoint.objects.select_related("agent").filter(agent_id=agent_id), agent_id)


def _locked(agent_id: str) -> AgentEndpoint:
    return endpoints.found(
        AgentEndpoint.objects.select_for_update(no_key=True).filter(agent_id=agent_id), agent_id
    )


@transaction.atomic
def delete_agent(agent_id: str) -> None:
    """Take the endpoint and its streams away: the agent is called no more. The participant, its memberships
    and its messages stay, so that it can speak by REST and be registered again. Raises `NotFound`.
    """
    found = AgentEndpoint.objects.filter(agent_id=agent_id)
    endpoints.found(found.select_for_update(), agent_id)
    operations.delete_endpoints(found)
