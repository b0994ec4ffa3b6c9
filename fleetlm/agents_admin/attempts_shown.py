"""Attempts as these pages show them: their outcome as a word, heads and bodies to be read, and the newest of something."""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.db.models import Max, QuerySet

from agents.models import Attempt, DeliveryStream

NEWEST: Final = 20
LOOKED_THROUGH: Final = 20_000
"""The newest attempts of all, among which those of an endpoint are looked for first."""
STREAMS_LOOKED_AT: Final = 1_000
"""Where an endpoint is called rarely: the newest of its streams, whose attempts an index finds."""

TONES: Final = {
    Attempt.Outcome.ANSWERED: "good",
    Attempt.Outcome.ACCEPTED: "good",
    Attempt.Outcome.CANCELLED: "quiet",
    Attempt.Outcome.INTERRUPTED: "quiet",
}


@dataclass(frozen=True, slots=True)
class Body:
    """A body to be read: JSON with indents if it is whole, anything else as it came."""

    text: str
    is_json: bool


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One half of an exchange: its first line, its headers, and its body."""

    first: str
    headers: str
    body: Body


def exchanged(kept: str) -> Exchanged | None:
    """What the log kept of a request or an answer, to be read. None: it kept nothing."""
    if not kept:
        return None
    head, _, body = kept.partition("\n\n")
    first, _, headers = head.partition("\n")
    return Exchanged(first, headers, read_body(body))


def read_body(body: str) -> Body:
    """The body, to be read. What was cut off in the middle is no JSON any more."""
    try:
        return Body(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode(), True)
    except orjson.JSONDecodeError:
        return Body(body, False)


def tone_of(attempt: Attempt) -> str:
    """The colour of its outcome."""
    return TONES.get(Attempt.Outcome(attempt.outcome), "bad")


def newest_id() -> int:
    """The newest attempt of all; 0 if there is none."""
    return Attempt.objects.aggregate(newest=Max("id"))["newest"] or 0


def newest_of_stream(stream_id: int) -> list[Attempt]:
    """The newest attempts of a stream, by the index of its attempts."""
    return _newest(Attempt.objects.filter(stream_id=stream_id))


def newest_of_endpoint(endpoint_id: int) -> list[Attempt]:
    """The newest attempts of an endpoint, with a bounded search.

    One that is called much is among the newest of all; one that is called little has few streams.
    """
    found = _newest(
        Attempt.objects.filter(stream__endpoint_id=endpoint_id, id__gt=newest_id() - LOOKED_THROUGH)
    )
    if len(found) == NEWEST:
        return found
    streams = DeliveryStream.objects.filter(endpoint_id=endpoint_id).order_by("-id")
    return _newest(
        Attempt.objects.filter(stream_id__in=list(streams.values_list("id", flat=True)[:STREAMS_LOOKED_AT]))
    )


def _newest(attempts: QuerySet[Attempt]) -> list[Any]:
    # Without `request` and `response`, which may be long and are not shown in a list.
    rows = attempts.defer("request", "response").prefetch_related("stream__conversation", "stream__endpoint")
    found: list[Any] = list(rows.order_by("-id")[:NEWEST])
    for attempt in found:
        attempt.tone = tone_of(attempt)
    return found
