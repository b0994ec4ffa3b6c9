"""Reads of delivery streams and attempts for operators. Synchronous, with the ORM: these are rare."""

from typing import Final

from django.db.models import Q, QuerySet

from agents.models import Attempt, DeliveryStream, Endpoint

_PARKED: Final = Q(parked_at__isnull=False)
_OPEN: Final = Q(parked_at__isnull=True, enabled=True, handed_over=False)
# What is called or waits for a call has a `due_at`: to say so leads to the index of those that do.
_CALLING: Final = _OPEN & Q(due_at__isnull=False, lease_id__isnull=False)
_WAITING: Final = _OPEN & Q(due_at__isnull=False, lease_id__isnull=True)

STATES: Final[dict[str, Q]] = {
    "idle": _OPEN & Q(due_at__isnull=True),
    "due": _WAITING & Q(blocked=False, first_failed_at__isnull=True),
    "calling": _CALLING,
    "retrying": _WAITING & Q(blocked=False, first_failed_at__isnull=False),
    "blocked": _WAITING & Q(blocked=True),
    "parked": _PARKED & Q(park_reason=DeliveryStream.ParkReason.EXHAUSTED),
    "paused": _PARKED & Q(park_reason=DeliveryStream.ParkReason.OPERATOR),
    "handed_over": Q(parked_at__isnull=True, enabled=True, handed_over=True),
    "disabled": Q(parked_at__isnull=True, enabled=False),
}
"""The streams in each state, as `state` names it: together they are all, and none is in two."""


def state(stream: DeliveryStream) -> str:
    """What a stream does or waits for, in one word."""
    if stream.parked_at is not None:
        return "paused" if stream.park_reason == DeliveryStream.ParkReason.OPERATOR else "parked"
    if not stream.enabled:
        return "disabled"
    if stream.handed_over:
        return "handed_over"
    if stream.lease_id is not None:
        return "calling"
    if stream.blocked:
        return "blocked"
    if stream.due_at is None:
        return "idle"
    return "due" if stream.first_failed_at is None else "retrying"


def lag(stream: DeliveryStream) -> int:
    """How many entries of the log the endpoint has still to be given: those up to the newest that it is called for. Of an
    inbox, changes."""
    return max(0, stream.wanted_seq - stream.cursor)


def streams_of(endpoint: Endpoint) -> QuerySet[DeliveryStream]:
    """The streams of an endpoint, with their conversations."""
    return DeliveryStream.objects.filter(endpoint_id=endpoint.id).select_related("conversation", "endpoint")


def page(
    endpoint: Endpoint, *, in_state: str | None, after: int | None, limit: int
) -> tuple[list[DeliveryStream], int | None]:
    """Streams of an endpoint, oldest first, those in one state or all; and what the next page is `after`."""
    found = streams_of(endpoint).order_by("id")
    if in_state is not None:
        found = found.filter(STATES[in_state])
    if after is not None:
        found = found.filter(id__gt=after)
    streams = list(found[: limit + 1])
    return streams[:limit], streams[limit - 1].id if len(streams) > limit else None


def parked(endpoint: Endpoint) -> QuerySet[DeliveryStream]:
    """Those that were given up after too many failures."""
    return DeliveryStream.objects.filter(STATES["parked"], endpoint_id=endpoint.id).order_by(
        "parked_at", "id"
    )


def attempts(
    endpoint: Endpoint, *, key: str | None, outcome: str | None, before: int | None, limit: int
) -> tuple[list[Attempt], int | None]:
    """Calls of an endpoint, newest first; and what the next page is `before`."""
    found = Attempt.objects.filter(stream__endpoint_id=endpoint.id).select_related("stream__conversation")
    if key is not None:
        found = found.filter(stream__conversation__key=key)
    if outcome is not None:
        found = found.filter(outcome=outcome)
    if before is not None:
        found = found.filter(id__lt=before)
    page = list(found.order_by("-id")[: limit + 1])
    return page[:limit], page[limit - 1].id if len(page) > limit else None
