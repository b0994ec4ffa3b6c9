"""What `conversation.events()` yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .errors import FleetLMError
from .records import Member, Message, Run


@dataclass(frozen=True, slots=True)
class Joined:
    """The conversation is followed: as it is now. The first event, and the first after every loss of the connection.

    Its messages come after it, each as a `MessageEvent`, then its runs, each as a `RunEvent`.
    """

    key: str
    epoch: str
    last_seq: int
    dm_key: str | None = None
    kind: str = "dm"
    state: str = "open"
    members: Sequence[Member] = ()
    """The first 200."""
    runs: Sequence[Run] = ()
    """Those under way."""
    typing: Sequence[str] = ()
    present: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """A message: each once, in order."""

    message: Message


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A run that was under way when one joined, or whose status has changed."""

    run: Run


@dataclass(frozen=True, slots=True)
class DeltaEvent:
    """Some more of a run: the chunks from number `start` up to, not including, `to`. `run` has them in it.

    Deltas of a run have no hole: what was missed during a loss comes as one.
    """

    run: Run
    chunks: Sequence[Mapping[str, Any]]
    start: int
    to: int
    text: str
    """What these chunks say; empty if it is no text."""


@dataclass(frozen=True, slots=True)
class TypingEvent:
    """Someone else has begun, or ceased, to type."""

    participant_id: str
    on: bool


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """A participant has read up to `seq`."""

    participant_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """Who has the conversation open now, oneself among them; also `joined` and `left` since the event before."""

    present: Sequence[str]
    joined: Sequence[str] = ()
    left: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ResetEvent:
    """The log is another one than before: forget what you had. Its newest messages follow."""

    epoch: str


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """`offline`: the connection was lost, or cannot be made yet; it is tried again by itself. `online`: it is back."""

    status: Literal["online", "offline"]
    error: FleetLMError | None = None


@dataclass(frozen=True, slots=True)
class ClosedEvent:
    """The last event: one is no member any more (`removed`), or the conversation is `deleted`."""

    reason: str


Event = (
    Joined
    | MessageEvent
    | RunEvent
    | DeltaEvent
    | TypingEvent
    | ReadEvent
    | PresenceEvent
    | ResetEvent
    | StatusEvent
    | ClosedEvent
)
