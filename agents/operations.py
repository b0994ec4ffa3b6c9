"""Rare writes of delivery streams: members, handovers, and what an operator does to them. Synchronous, with the ORM."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest, Now

from agents.models import DeliveryStream, Endpoint
from conversations.errors import InvalidRequest, NotFound
from conversations.models import Conversation

FRESH_CALL: dict[str, Any] = {
    "call_id": None,
    "call_seq": None,
    "attempts": 0,
    "first_failed_at": None,
    "lease_id": None,
    "run_id": None,
    "cancel_run_id": None,
    "blocked": False,
    "last_error": "",
}
"""What a stream forgets when its call is given up: whoever makes it finds its lease gone."""

HAS_NEWS = Q(wanted_seq__gt=F("cursor")) | Q(replay_to__isnull=False)


def open_streams(conversation: Conversation, participant_ids: Collection[str]) -> None:
    """Deliver what is said from now on to those of the participants that are agents with an endpoint.

    Call it in the transaction that makes them members, with the conversation's row locked. A stream that is
    there already moves up, never back.
    """
    endpoints = (
        Endpoint.objects.filter(agent_id__in=participant_ids).order_by("id").select_for_update(no_key=True)
    )
    streams = [_stream(endpoint, conversation) for endpoint in endpoints]
    if not streams:
        return
    from_seq = conversation.last_seq
    DeliveryStream.objects.bulk_create(streams, ignore_conflicts=True)
    DeliveryStream.objects.filter(conversation=conversation, agent_id__in=participant_ids).filter(
        cursor__lt=from_seq
    ).update(cursor=from_seq, wanted_seq=Greatest("wanted_seq", from_seq))


def _stream(endpoint: Endpoint, conversation: Conversation) -> DeliveryStream:
    return DeliveryStream(
        endpoint=endpoint,
        agent_id=endpoint.agent_id,
        conversation=conversation,
        enabled=endpoint.enabled,
        handed_over=bool(conversation.handed_to),
        cursor=conversation.last_seq,
        wanted_seq=conversation.last_seq,
    )


def close_streams(conversation_id: int, participant_ids: Collection[str]) -> None:
    """Deliver no more of this conversation to these participants, nor to subscriptions that follow them.

    A call under way finds its lease gone.
    """
    streams = DeliveryStream.objects.filter(conversation_id=conversation_id)
    theirs = Q(agent_id__in=participant_ids) | Q(endpoint__participant_id__in=participant_ids)
    lock_in_order(streams.filter(theirs)).delete()


def delete_endpoints(endpoints: QuerySet[Endpoint]) -> None:
    """Take endpoints and their streams away. Locked like everywhere: endpoints before streams, each in id order."""
    # Against the share lock by which an append makes a stream of a subscription (`agents/marking.py`).
    ids = list(endpoints.select_for_update().order_by("id").values_list("id", flat=True))
    lock_in_order(DeliveryStream.objects.filter(endpoint_id__in=ids))
    Endpoint.objects.filter(id__in=ids).delete()


def hand_over(conversation: Conversation, *, to_person: bool) -> None:
    """Let the agents of a locked conversation rest, or have them called with everything that they missed."""
    streams = lock_in_order(DeliveryStream.objects.filter(conversation=conversation, agent_id__isnull=False))
    streams.update(handed_over=to_person)
    if to_person:
        streams.filter(lease_id__isnull=True).update(due_at=None, blocked=False)
    else:
        ready(streams).update(due_at=Now())


def set_enabled(endpoint: Endpoint) -> None:
    """Have the streams of an endpoint follow its `enabled`: disabled, they wait; enabled, those with news come back."""
    streams = lock_in_order(DeliveryStream.objects.filter(endpoint=endpoint))
    streams.update(enabled=endpoint.enabled)
    if endpoint.enabled:
        ready(streams).update(due_at=Now())
    else:
        streams.filter(lease_id__isnull=True).update(due_at=None, blocked=False)


def ready(streams: QuerySet[DeliveryStream]) -> QuerySet[DeliveryStream]:
    """Those of the streams that have news and nothing in their way, but wait for nothing."""
    return streams.filter(
        HAS_NEWS,
        enabled=True,
        handed_over=False,
        parked_at__isnull=True,
        lease_id__isnull=True,
        due_at__isnull=True,
    )


@transaction.atomic
def resume(streams: QuerySet[DeliveryStream], at: datetime | None = None) -> int:
    """Take parked streams up again, now or at `at`: the call that failed is made once more, with a fresh retry
    schedule.

    Returns how many were parked.
    """
    parked = lock_in_order(streams.filter(parked_at__isnull=False))
    count = parked.update(parked_at=None, park_reason="", first_failed_at=None, attempts=0, last_error="")
    ready(parked).update(due_at=at or Now())
    return count


@transaction.atomic
def park(streams: QuerySet[DeliveryStream]) -> int:
    """Call no more for these streams until they are resumed; a call under way loses its lease. Returns how
    many."""
    return lock_in_order(streams.filter(parked_at__isnull=True)).update(
        parked_at=Now(),
        park_reason=DeliveryStream.ParkReason.OPERATOR,
        due_at=None,
        lease_id=None,
        run_id=None,
        cancel_run_id=None,
        blocked=False,
    )


@transaction.atomic
def retry_now(streams: QuerySet[DeliveryStream]) -> int:
    """Make the next call of these streams at once, instead of when its wait is over. Returns how many wait."""
    waiting = lock_in_order(
        streams.filter(lease_id__isnull=True, due_at__isnull=False, enabled=True, handed_over=False)
    )
    return waiting.update(due_at=Now(), blocked=False)


@transaction.atomic
def skip(stream: DeliveryStream, up_to: int | None = None) -> DeliveryStream:
    """Give up on the messages up to this seq, or on those of the pending call: they are never delivered.

    What came after them is delivered at once. Raises `InvalidRequest` when there is nothing to skip.
    """
    stream = lock_in_order(DeliveryStream.objects.filter(id=stream.id)).get()
    if stream.replay_to is not None and up_to is None:
        _restart(stream, replay_cursor=None, replay_to=None)
        return stream
    # A call may reach beyond the newest message that concerns the endpoint: it carries what others have said since.
    end = max(stream.wanted_seq, stream.call_seq or 0)
    target = stream.call_seq if up_to is None else up_to
    if target is None or not stream.cursor < target <= end:
        raise InvalidRequest(_nothing_to_skip(stream.cursor + 1, end, named=up_to is not None), field="seq")
    _restart(stream, cursor=target)
    return stream


def _nothing_to_skip(first: int, end: int, *, named: bool) -> str:
    if first > end:
        return "There is nothing to skip: nothing is pending."
    if named:
        return f"There is nothing to skip there: seq must be {first} to {end}."
    pending = f"message {first} is" if first == end else f"messages {first} to {end} are"
    return (
        f"No call has been made that could be skipped: {pending} still to be delivered. "
        "To give them up all the same, say in seq up to which one."
    )


@transaction.atomic
def rewind(stream: DeliveryStream, from_seq: int, at: datetime | None = None) -> DeliveryStream:
    """Deliver everything from `from_seq` on again, as new calls, now or at `at`; an agent's answers are appended again.

    Raises `InvalidRequest` for a seq that the conversation does not have, and for one that would leave out what has not
    been delivered yet.
    """
    last_seq = _lock_log(stream, from_seq, from_seq)
    stream = _locked(stream)
    if _has_pending(stream) and from_seq > stream.cursor + 1:
        raise InvalidRequest(
            f"Messages from {stream.cursor + 1} on are still to be delivered; to leave some out, skip them.",
            field="from_seq",
        )
    _restart(stream, at, cursor=from_seq - 1, wanted_seq=last_seq, replay_cursor=None, replay_to=None)
    return stream


@transaction.atomic
def redeliver(stream: DeliveryStream, from_seq: int, to_seq: int) -> DeliveryStream:
    """Deliver a range once more, as new calls, and then go on where the stream was.

    Raises `InvalidRequest` for a range that the conversation does not have, or that has not been delivered yet.
    """
    _lock_log(stream, from_seq, to_seq)
    stream = _locked(stream)
    if _has_pending(stream) and to_seq > stream.cursor:
        raise InvalidRequest(
            f"Messages from {stream.cursor + 1} on are still to be delivered; to_seq must be before them.",
            field="to_seq",
        )
    _restart(stream, replay_cursor=from_seq - 1, replay_to=to_seq)
    return stream


@transaction.atomic
def set_trigger(stream: DeliveryStream, trigger: str) -> DeliveryStream:
    """Have an agent called in this conversation for other messages than elsewhere; empty: for the same. From the next
    message on."""
    lock_in_order(DeliveryStream.objects.filter(id=stream.id)).update(trigger=trigger)
    stream.refresh_from_db()
    return stream


def _has_pending(stream: DeliveryStream) -> bool:
    return stream.wanted_seq > stream.cursor


def _locked(stream: DeliveryStream) -> DeliveryStream:
    return lock_in_order(DeliveryStream.objects.filter(id=stream.id)).select_related("endpoint").get()


def _lock_log(stream: DeliveryStream, from_seq: int, to_seq: int) -> int:
    """Lock the stream's conversation; returns its last seq. Raises `InvalidRequest` if it does not hold this range."""
    conversation = Conversation.objects.select_for_update(no_key=True).get(id=stream.conversation_id)
    if stream.endpoint.event == Endpoint.Event.INBOX_UPDATED:
        raise InvalidRequest(
            "inbox.updated tells of the newest state; there is nothing to go back to.", field="from_seq"
        )
    if not 1 <= from_seq <= to_seq <= conversation.last_seq:
        words = f"seqs must be 1 to {conversation.last_seq}, the first before the last."
        raise InvalidRequest(
            words if conversation.last_seq else "The conversation is empty.", field="from_seq"
        )
    return conversation.last_seq


def _restart(stream: DeliveryStream, at: datetime | None = None, **changes: Any) -> None:
    """Give up the stream's call, change where it is, and have it called, at once or at `at`, if there is anything to
    tell. An operator's pause stays: only `resume` ends it."""
    locked = lock_in_order(DeliveryStream.objects.filter(id=stream.id))
    locked.update(**FRESH_CALL, due_at=None, **changes)
    locked.exclude(park_reason=DeliveryStream.ParkReason.OPERATOR).update(parked_at=None, park_reason="")
    ready(locked).update(due_at=at or Now())
    stream.refresh_from_db()


def find_stream(key: str, **endpoint: Any) -> DeliveryStream:
    """The stream over the conversation with this canonical key of the endpoint with these fields. Raises `NotFound`."""
    streams = DeliveryStream.objects.select_related("endpoint", "conversation")
    names = {f"endpoint__{name}": value for name, value in endpoint.items()}
    stream = streams.filter(conversation__key=key, **names).first()
    if stream is None:
        raise NotFound("Nothing of this conversation is delivered there.", key=key)
    return stream


def mark_inbox(conversation: Conversation) -> None:
    """Tell subscriptions of `inbox.updated` of a change of a locked conversation: members, title, state."""
    streams = DeliveryStream.objects.filter(
        conversation=conversation, endpoint__event=Endpoint.Event.INBOX_UPDATED
    )
    locked = lock_in_order(streams)
    locked.update(wanted_seq=F("wanted_seq") + 1)
    ready(locked).update(due_at=Now())


def lock_in_order(streams: QuerySet[DeliveryStream]) -> QuerySet[DeliveryStream]:
    """These streams, locked in id order as every append and every acknowledgement does, until the transaction
    ends."""
    ids = list(
        streams.select_for_update(no_key=True, of=("self",)).order_by("id").values_list("id", flat=True)
    )
    return DeliveryStream.objects.filter(id__in=ids)
