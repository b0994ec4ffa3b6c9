"""The bodies, queries and answers of delivery streams and attempts; see `fleetlm.api.forms`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleetlm.api.agent_forms import Trigger
from fleetlm.api.forms import Answer, Form, Key, PageSize
from fleetlm.sending import MAX_SEQ

MessageSeq = Annotated[int, Meta(ge=1, le=MAX_SEQ)]
Place = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
State = Literal[
    "idle", "due", "calling", "retrying", "blocked", "parked", "paused", "handed_over", "disabled"
]
Outcome = Literal[
    "answered",
    "accepted",
    "refused",
    "timed_out",
    "unreachable",
    "invalid_answer",
    "blocked",
    "failed",
    "cancelled",
    "interrupted",
]


class ReplayRange(Answer, rename={"from_seq": "from", "to_seq": "to"}):
    """What of the log is still to be delivered once more."""

    from_seq: int
    to_seq: int


class StreamAnswer(Answer):
    """One endpoint's cursor over one conversation.

    `state`: `idle` (nothing to do), `due`, `calling`, `retrying` (a call has failed and is made again at `due_at`), `blocked`
    (the endpoint's breaker is open), `parked` (given up after too many failures), `paused` (by an operator), `handed_over`
    (a person has the conversation), `disabled` (the endpoint is). `lag` is what the endpoint has still to be given: its own
    messages behind the last one that it is called for are none of it. Of `inbox.updated`, `cursor`, `last_seq` and `lag` count
    changes.
    """

    key: str
    cursor: int
    last_seq: int
    lag: int
    state: State
    trigger: str | None
    due_at: str | None
    waiting_since: str | None
    attempts: int
    last_error: str
    parked_at: str | None
    park_reason: str | None
    replay: ReplayRange | None
    handed_over: bool
    run_id: str | None


class StreamsQuery(Form):
    """Which streams, oldest first. `after` is the `next` of the page before."""

    state: State | None = None
    after: Place | None = None
    limit: PageSize = 50


class StreamsAnswer(Answer):
    """A page of streams."""

    streams: list[StreamAnswer]
    next: int | None


class StreamChange(Form):
    """Which messages the agent is called for in this conversation; null: those that it is called for elsewhere."""

    trigger: Trigger | None


class SkipForm(Form):
    """Up to which message to give up; without it, those of the call that is pending."""

    seq: MessageSeq | None = None


class RewindForm(Form):
    """The first message to deliver again, with all that follow."""

    from_seq: MessageSeq


class RedeliverForm(Form):
    """The first and the last message to deliver once more."""

    from_seq: MessageSeq
    to_seq: MessageSeq


class ResumeForm(Form):
    """How many of the parked streams to resume, oldest first."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class ResumedAnswer(Answer):
    """How many were resumed, and how many are still parked."""

    resumed: int
    parked: int


class AttemptsQuery(Form):
    """Which attempts, newest first. `before` is the `next` of the page before."""

    key: Key | None = None
    outcome: Outcome | None = None
    before: Place | None = None
    limit: PageSize = 50


class AttemptAnswer(Answer):
    """One call. `request` and `response` are the heads of both with the first bytes of their bodies, without secrets."""

    id: int
    key: str
    call_id: str
    run_id: str
    number: int
    from_seq: int
    to_seq: int
    outcome: str
    status: int | None
    duration_ms: int
    error: str
    request: str
    response: str
    created_at: str


class AttemptsAnswer(Answer):
    """A page of attempts."""

    attempts: list[AttemptAnswer]
    next: int | None


ALL: list[type[msgspec.Struct]] = [
    ReplayRange,
    StreamAnswer,
    StreamsQuery,
    StreamsAnswer,
    StreamChange,
    SkipForm,
    RewindForm,
    RedeliverForm,
    ResumeForm,
    ResumedAnswer,
    AttemptsQuery,
    AttemptAnswer,
    AttemptsAnswer,
]
