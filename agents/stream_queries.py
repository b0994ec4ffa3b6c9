"""Reads of delivery streams and attempts for operators. Synchronous, with the ORM: these are rare."""

from typing import Final

from django.db.models import Q, QuerySet

from agents.models import Attempt, DeliveryStream, Endpoint

_FREE: Final = Q(parked_at__isnull=True, lease_id__isnull=True, due_at__isnull=False)

STATES: Final[dict[str, Q]] = {
    "due": _FREE & Q(blocked=False, first_failed_at__isnull=True),
    "retrying": _FREE & Q(blocked=False, first_failed_at__isnull=False),
    "blocked": Q(blocked=True),
    "parked": Q(park_reason=DeliveryStream.ParkReason.EXHAUSTED),
    "paused": Q(park_reason=DeliveryStream.ParkReason.OPERATOR),
}
"""What a stream waits for, as `state` names it too."""


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


def streams_of(endpoint: Endpoint) -> QuerySet[DeliveryStream]:
    """The streams of an endpoint, with their conversations."""
    return DeliveryStream.objects.filter(endpoint_id=endpoint.id).select_related("conversation", "endpoint")


def page(
    endpoint: Endpoint, *, in_state: str | None, after: int | None, limit: int
) -> tuple[list[DeliveryStream], int | None]:
    """Streams of an endpoint, oldest first, those that wait for `in_state` or all; and what the next page is `after`."""
    found = streams_of(endpoint).order_by("id")
    if in_state is not None:
        found = found.filter(STATES[in_state])
    if in_state in ("due", "retrying", "blocked"):
        found = found.filter(enabled=True, handed_over=False)
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
