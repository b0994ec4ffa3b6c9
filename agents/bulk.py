"""What an operator does to many streams of an endpoint. Each in a transaction of its own, and what is to happen when is in
its row: whoever began may be killed and begin again.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from agents import operations, stream_queries
from agents.models import DeliveryStream, Endpoint
from conversations.errors import InvalidRequest
from conversations.models import Message

BATCH: Final = 500


class Spacing:
    """Gives out times, so many in a second; the first is now, or after the last that an earlier run gave out."""

    def __init__(self, endpoint: Endpoint, per_second: float) -> None:
        self._pause = timedelta(seconds=1 / per_second)
        self._next = max(timezone.now(), self._last_of_an_earlier_run(endpoint) or timezone.now())

    def next(self) -> datetime:
        """When the next stream is due."""
        due, self._next = self._next, self._next + self._pause
        return due

    def _last_of_an_earlier_run(self, endpoint: Endpoint) -> datetime | None:
        # Of what waits though it has failed at nothing: a debounce is short enough not to matter.
        waiting = DeliveryStream.objects.filter(stream_queries.STATES["due"], endpoint_id=endpoint.id)
        last: datetime | None = waiting.aggregate(last=Max("due_at"))["last"]
        return last + self._pause if last is not None else None


def rewind_since(endpoint: Endpoint, since: datetime, per_second: float) -> int:
    """Deliver again what was written since then in all conversations of an endpoint, so many of them in a second.

    Returns how many there are. Left alone are those that an operator has paused, and those that have not got so far
    yet: begun again after it was stopped in the middle, it goes on. Raises `InvalidRequest` for `inbox.updated`, of which
    there is no log.
    """
    if endpoint.event == Endpoint.Event.INBOX_UPDATED:
        raise InvalidRequest("inbox.updated tells of the newest state; there is nothing to go back to.")
    spacing = Spacing(endpoint, per_second)
    streams = (
        DeliveryStream.objects.filter(endpoint_id=endpoint.id, conversation__updated_at__gte=since)
        .exclude(stream_queries.STATES["paused"])
        .select_related("endpoint")
    )
    return sum(_rewind(stream, since, spacing) for stream in _each(streams))


def _rewind(stream: DeliveryStream, since: datetime, spacing: Spacing) -> bool:
    messages = Message.objects.filter(conversation_id=stream.conversation_id, created_at__gte=since)
    first = messages.order_by("seq").values_list("seq", flat=True).first()
    # Beyond the cursor nothing has been delivered: it is still to come, or does not concern the endpoint.
    if first is None or stream.cursor < first:
        return False
    operations.rewind(stream, first, spacing.next())
    return True


def resume(endpoint: Endpoint, per_second: float | None = None) -> int:
    """Take up all parked streams again, at once or so many in a second; returns how many. Paused ones stay."""
    parked = stream_queries.parked(endpoint)
    if per_second is None:
        return _in_batches(parked, operations.resume)
    spacing = Spacing(endpoint, per_second)
    return sum(
        operations.resume(DeliveryStream.objects.filter(id=stream.id), spacing.next())
        for stream in _each(parked)
    )


def pause(endpoint: Endpoint) -> int:
    """Call no more for any conversation that there is now; returns how many."""
    return _in_batches(endpoint_streams(endpoint).filter(parked_at__isnull=True), operations.park)


def retry(endpoint: Endpoint) -> int:
    """Make at once what waits to be tried again; returns how many."""
    return _in_batches(endpoint_streams(endpoint), operations.retry_now)


def skip(endpoint: Endpoint) -> int:
    """Give up the call of every parked stream, and go on with what came after it; returns how many."""
    of_a_call = Q(call_seq__gt=F("cursor")) | Q(replay_to__isnull=False)
    pending = stream_queries.parked(endpoint).filter(of_a_call)
    count = 0
    for stream in _each(pending):
        operations.skip(stream)
        count += 1
    return count


def endpoint_streams(endpoint: Endpoint) -> QuerySet[DeliveryStream]:
    """All of an endpoint."""
    return DeliveryStream.objects.filter(endpoint_id=endpoint.id)


def _in_batches(streams: QuerySet[DeliveryStream], act: Callable[[QuerySet[DeliveryStream]], int]) -> int:
    return sum(act(DeliveryStream.objects.filter(id__in=ids)) for ids in _batches(streams))


def _each(streams: QuerySet[DeliveryStream]) -> Iterator[DeliveryStream]:
    for ids in _batches(streams):
        yield from streams.filter(id__in=ids).order_by("id")


def _batches(streams: QuerySet[DeliveryStream]) -> Iterator[Sequence[int]]:
    ids = list(streams.order_by("id").values_list("id", flat=True))
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
