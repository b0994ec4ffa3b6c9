"""The records that a delivery hands from step to step: what was claimed, and how it ended.

Structs, because a frozen dataclass of so many fields takes ten times as long to make.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from agents.secrets import SealedSecret

SUCCESSES: Final = frozenset({"answered", "accepted"})
"""Outcomes that show that an endpoint is well."""

ENDED_EARLY: Final = frozenset({"cancelled", "interrupted"})
"""Outcomes of calls that were ended from here: they say nothing of the endpoint."""


class ClaimedStream(msgspec.Struct, frozen=True):
    """A due stream that this dispatcher now holds, with its call and its endpoint. In the order of
    `CLAIM_DUE_STREAMS`."""

    id: int
    lease_id: UUID
    cursor: int
    """What of this call's range has been delivered: the stream's cursor, or that of a replay."""
    call_id: UUID
    call_seq: int
    run_id: UUID
    lost_run_id: UUID | None
    """The run of a dispatcher that was not heard of again."""
    lost_run_cancelled: bool
    attempt: int
    first_failed_at: datetime | None
    waiting_seconds: float | None
    """Since the oldest news that the call carries."""
    behind: bool
    """Whether there was more in the log than the call carries: it is a retry, a replay, or one of several."""
    agent_id: str | None
    endpoint_id: int
    endpoint_name: str
    url: str
    dialect: str
    options: dict[str, Any]
    context_messages: int | None
    context_tokens: int | None
    interruptible: bool
    """Whether news end the call. They never end one that is behind: it has been waited for."""
    max_in_flight: int | None
    timeout_seconds: float | None
    secrets: list[SealedSecret]
    sealed: str
    event: str
    participant_id: str
    message_kinds: list[str]
    conversation_id: int
    key: str
    conversation_kind: str
    epoch: UUID

    @property
    def is_dm(self) -> bool:
        """Whether the conversation has exactly two participants."""
        return self.conversation_kind == "dm"


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP call as the log keeps it. `outcome` is of `agents.models.Attempt.Outcome`."""

    outcome: str
    duration_ms: int
    status: int | None = None
    error: str = ""
    request: str = ""
    response: str = ""

    @property
    def failed(self) -> bool:
        """Whether the call is to be made again."""
        return self.outcome not in SUCCESSES and not self.ended_early

    @property
    def ended_early(self) -> bool:
        """Whether a person or a new message ended the call."""
        return self.outcome in ENDED_EARLY


class Ending(StrEnum):
    """What becomes of a claimed stream."""

    DELIVERED = "delivered"
    """The cursor moves to the call's upper seq."""
    RETRY = "retry"
    """The same call is made again, later."""
    PARK = "park"
    """It was tried for long enough: no more calls until someone resumes the stream. The cursor stays."""
    HOLD = "hold"
    """No call for now: the next message that concerns the endpoint brings everything since the cursor."""


class Finish(msgspec.Struct, frozen=True):
    """How a claimed stream is given back. `retry_in` is in seconds. Without an attempt no call was made."""

    stream: ClaimedStream
    ending: Ending
    retry_in: float | None = None
    attempt: AttemptRecord | None = None
