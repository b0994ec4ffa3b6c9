"""Rare writes of delivery streams: membership changes, and what an operator does to them. Synchronous, with the ORM."""

from collections.abc import Collection

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest, Now

from agents.models import AgentEndpoint, DeliveryStream
from conversations.errors import InvalidRequest, NotFound
from conversations.models import Conversation


def open_streams(conversation_id: int, participant_ids: Collection[str], from_seq: int) -> None:
    """Deliver the messages after `from_seq` to those of the participants that are agents with an endpoint.

    Call it in the transaction that makes them members, with the conversation's row locked. A stream that is
    there already moves up to `from_seq`, never back.
    """
    endpoints = (
        AgentEndpoint.objects.filter(agent_id__in=participant_ids)
        .order_by("id")
        .select_for_update(no_key=True)
    )
    streams = [_stream(endpoint, conversation_id, from_seq) for endpoint in endpoints]
    if not streams:
        return
    DeliveryStream.objects.bulk_create(streams, ignore_conflicts=True)
    DeliveryStream.objects.filter(conversation_id=conversation_id, agent_id__in=participant_ids).filter(
        cursor__lt=from_seq
    ).update(cursor=from_seq, wanted_seq=Greatest("wanted_seq", from_seq))


def _stream(endpoint: AgentEndpoint, conversation_id: int, from_seq: int) -> DeliveryStream:
    return DeliveryStream(
        endpoint=endpoint,
        agent_id=endpoint.agent_id,
        conversation_id=conversation_id,
        enabled=endpoint.enabled,
        cursor=from_seq,
        wanted_seq=from_seq,
    )


def close_streams(conversation_id: int, participant_ids: Collection[str]) -> None:
    """Deliver no more of this conversation to these participants; a call under way finds its lease gone."""
    DeliveryStream.objects.filter(conversation_id=conversation_id, agent_id__in=participant_ids).delete()


@transaction.atomic
def resume(streams: QuerySet[DeliveryStream]) -> int:
    """Take parked streams up again: the call that failed is made once more, with a fresh retry schedule.

    Returns how many were parked.
    """
    parked = lock_in_order(streams.filter(parked_at__isnull=False))
    parked.filter(enabled=True, wanted_seq__gt=F("cursor")).update(due_at=Now())
    return parked.update(parked_at=None, first_failed_at=None, attempts=0, last_error="")


@transaction.atomic
def park(streams: QuerySet[DeliveryStream]) -> int:
    """Call no more for these streams until they are resumed; a call under way loses its lease. Returns how
    many."""
    return lock_in_order(streams.filter(parked_at__isnull=True)).update(
        parked_at=Now(), due_at=None, lease_id=None
    )


@transaction.atomic
def replay_from(key: str, agent_id: str, from_seq: int) -> DeliveryStream:
    """Deliver everything from `from_seq` on to this agent again, as new calls; its answers are appended
    again.

    Raises `NotFound` without such a stream, `InvalidRequest` for a seq that the conversation does not have.
    """
    conversation = Conversation.objects.select_for_update(no_key=True).filter(key=key).first()
    if conversation is None:
        raise NotFound("There is no conversation with this key.", key=key)
    streams = DeliveryStream.objects.filter(conversation=conversation, agent_id=agent_id)
    if not 1 <= from_seq <= conversation.last_seq:
        raise InvalidRequest(f"seq must be 1 to {conversation.last_seq}.", field="from_seq")
    replayed = lock_in_order(streams).update(
        cursor=from_seq - 1,
        wanted_seq=conversation.last_seq,
        due_at=Now(),
        call_id=None,
        call_seq=None,
        attempts=0,
        first_failed_at=None,
        lease_id=None,
        parked_at=None,
        last_error="",
    )
    if not replayed:
        raise NotFound("This agent has no endpoint, or is not a member.", agent_id=agent_id, key=key)
    return streams.get()


def lock_in_order(streams: QuerySet[DeliveryStream]) -> QuerySet[DeliveryStream]:
    """These streams, locked in id order as every append and every acknowledgement does, until the transaction
    ends."""
    ids = list(streams.select_for_update(no_key=True).order_by("id").values_list("id", flat=True))
    return DeliveryStream.objects.filter(id__in=ids)
