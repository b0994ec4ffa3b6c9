"""Changes of who takes part and in what state: one transaction across conversations, inbox and agents.

Synchronous, with the ORM: these are rare. Each takes the conversation's row lock first, so that an append sees all of a change
or nothing of it. Callers on the loop use `asgiref.sync.sync_to_async`, then `gateway.announce_change`.
"""

from typing import Any

from django.conf import settings
from django.db import transaction

import inbox.store
from agents import operations
from agents.models import Endpoint
from conversations import rules, store
from conversations.errors import InvalidRequest, NotAMember, ParticipantNotFound
from conversations.models import Conversation, Participant


@transaction.atomic
def create(
    key: str,
    kind: str,
    roles: dict[str, str],
    *,
    title: str = "",
    metadata: dict[str, Any] | None = None,
    make_participants: bool = False,
) -> Conversation:
    """A conversation with its members (participant id → role). Raises `Conflict` for a key that is taken.

    `make_participants` makes unknown participants as users; otherwise they raise `ParticipantNotFound`.
    """
    if kind == Conversation.Kind.DM and set(roles) != set(rules.dm_participants(key)):
        raise InvalidRequest("The members of a dm are the two participants of its key.", field="participants")
    if make_participants:
        store.ensure_participants(roles)
    conversation = store.create_conversation(key, kind, title=title, metadata=metadata)
    _admit(conversation, roles)
    return conversation


@transaction.atomic
def ensure_dm(key: str) -> None:
    """Make a dm, and its participants as users, unless it is there already. `key` is canonical."""
    roles = dict.fromkeys(rules.dm_participants(key), "member")
    store.ensure_participants(roles)
    Conversation.objects.bulk_create(
        [Conversation(key=key, kind=Conversation.Kind.DM)], ignore_conflicts=True
    )
    _admit(store.lock_conversation(key), roles)


@transaction.atomic
def add(key: str, roles: dict[str, str]) -> Conversation:
    """Add members (participant id → role); those who are members already stay as they are."""
    conversation = store.lock_conversation(key)
    _admit(conversation, roles)
    return conversation


@transaction.atomic
def change(key: str, participant_id: str, *, role: str | None, muted: bool | None) -> Conversation:
    """Change a member's role or muting."""
    conversation = store.lock_conversation(key)
    store.change_member(conversation, participant_id, role=role, muted=muted)
    operations.mark_inbox(conversation)
    return conversation


@transaction.atomic
def remove(key: str, participant_id: str) -> Conversation:
    """Take a member out: it can read and write no more, and its agent is called no more."""
    conversation = store.lock_conversation(key)
    store.remove_member(conversation, participant_id)
    operations.close_streams(conversation.id, [participant_id])
    operations.mark_inbox(conversation)
    return conversation


@transaction.atomic
def set_state(key: str, state: str) -> Conversation:
    """Open, close or archive a conversation."""
    conversation = store.lock_conversation(key)
    store.set_state(conversation, state)
    operations.mark_inbox(conversation)
    return conversation


@transaction.atomic
def hand_over(key: str, participant_id: str | None) -> tuple[Conversation, bool]:
    """Let a person (a user) who is a member take over from the conversation's agents, or, with None, give it back to them.

    The agents rest meanwhile; given back, they are called with everything that they missed. Returns whether this
    changed anything. Raises `ParticipantNotFound`, `InvalidRequest` for one that is no user, and `NotAMember`.
    """
    conversation = store.lock_conversation(key)
    if participant_id is not None:
        _require_person(conversation, participant_id)
    if conversation.handed_to == (participant_id or ""):
        return conversation, False
    store.touch(conversation, handed_to=participant_id or "")
    operations.hand_over(conversation, to_person=participant_id is not None)
    return conversation, True


def _require_person(conversation: Conversation, participant_id: str) -> None:
    """Who takes over must be able to read what was said, and to answer."""
    person = Participant.objects.filter(id=participant_id).first()
    if person is None:
        raise ParticipantNotFound(participant_id=participant_id)
    if person.kind != Participant.Kind.USER:
        raise InvalidRequest("A conversation is handed to a person, not to an agent.", field="participant_id")
    if not conversation.memberships.filter(participant=person).exists():
        advice = "a dm has no room for a third" if rules.is_dm(conversation.key) else "add it first"
        raise NotAMember(
            f"A conversation is handed to one of its members, which {participant_id} is not: {advice}.",
            participant_id=participant_id,
            key=conversation.key,
        )


@transaction.atomic
def describe(key: str, *, title: str | None, metadata: dict[str, Any] | None) -> Conversation:
    """Change a conversation's title or metadata."""
    conversation = store.lock_conversation(key)
    store.describe(conversation, title=title, metadata=metadata)
    operations.mark_inbox(conversation)
    return conversation


@transaction.atomic
def delete_participant(participant_id: str) -> list[str]:
    """Delete a participant with its memberships, cursors and endpoint; its messages stay. Returns the keys it was in."""
    keys = list(
        Conversation.objects.filter(memberships__participant_id=participant_id)
        .order_by("id")
        .select_for_update(no_key=True, of=("self",))
        .values_list("key", flat=True)
    )
    participant = Participant.objects.filter(id=participant_id).first()
    if participant is None:
        raise ParticipantNotFound(participant_id=participant_id)
    operations.delete_endpoints(Endpoint.objects.filter(agent_id=participant_id))
    participant.delete()
    for key in keys:
        conversation = store.lock_conversation(key)
        store.touch(conversation)
        operations.close_streams(conversation.id, [participant_id])
        operations.mark_inbox(conversation)
    return keys


def _admit(conversation: Conversation, roles: dict[str, str]) -> None:
    new = store.add_members(conversation, roles, limit=settings.FLEETLM.members_max)
    if new:
        inbox.store.start_cursors(conversation, new)
        operations.open_streams(conversation, new)
        operations.mark_inbox(conversation)
