"""What a delivery stream is doing, in one word: how it looks, and how its rows are found."""

from dataclasses import dataclass
from typing import Final

from django.db.models import Q

from agents import stream_queries
from agents.models import DeliveryStream

_CONDITIONS: Final = stream_queries.STATES


@dataclass(frozen=True, slots=True)
class State:
    """One of them, by the name that `agents.stream_queries.state` gives. `order` is along an index that finds its rows,
    where there is one."""

    name: str
    label: str
    tone: str
    means: str
    condition: Q
    order: str = "-id"


STATES: Final = (
    State("calling", "calling", "busy", "a call is under way", _CONDITIONS["calling"], "due_at"),
    State("due", "due", "busy", "a call is to be made", _CONDITIONS["due"], "due_at"),
    State(
        "retrying",
        "retrying",
        "warn",
        "a call has failed and is made again",
        _CONDITIONS["retrying"],
        "due_at",
    ),
    State("blocked", "blocked", "bad", "the endpoint's breaker is open", _CONDITIONS["blocked"], "due_at"),
    State("parked", "parked", "bad", "given up after too many failures", _CONDITIONS["parked"], "-parked_at"),
    State("paused", "paused", "warn", "parked by an operator", _CONDITIONS["paused"], "-parked_at"),
    State("handed_over", "handed over", "quiet", "a person has the conversation", _CONDITIONS["handed_over"]),
    State("disabled", "disabled", "quiet", "the endpoint is", _CONDITIONS["disabled"]),
    State("idle", "idle", "quiet", "it has got everything", _CONDITIONS["idle"]),
)

BY_NAME: Final[dict[str, State]] = {state.name: state for state in STATES}

ALL_PARKED: Final = State(
    "all_parked",
    "parked or paused",
    "bad",
    "no calls until it is resumed",
    Q(parked_at__isnull=False),
    "-parked_at",
)

CHOICES: Final[dict[str, State]] = {**BY_NAME, ALL_PARKED.name: ALL_PARKED}
"""What can be chosen in the list."""


def state_of(stream: DeliveryStream) -> State:
    """The state of a stream."""
    return BY_NAME[stream_queries.state(stream)]
