"""The records that a delivery hands from step to step: what was claimed, and how it ended."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agents.secrets import SealedSecret


@dataclass(frozen=True, slots=True)
class ClaimedStream:
    """A due stream that this dispatcher now holds, with its call and its endpoint. In the order of
    `CLAIM_DUE_STREAMS`."""

    id: int
    lease_id: UUID
    cursor: int
    call_id: UUID
    call_seq: int
    attempt: int
    first_failed_at: datetime | None
    agent_id: str
    endpoint_id: int
    url: str
    dialect: str
    context_messages: int | None
    secrets: list[SealedSecret]
    conversation_id: int
    key: str
    is_dm: bool
    epoch: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One HTTP call as the log keeps it. `outcome` is of `agents.models.Attempt.Outcome`."""

    run_id: UUID
    outcome: str
    duration_ms: int
    status: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """How a claimed stream is given back.

    `delivered` moves the cursor to the call's upper seq. Otherwise the call is made again in `retry_in`
    seconds, or never (None): the stream is parked. Without an attempt no call was needed.
    """

    stream: ClaimedStream
    delivered: bool
    retry_in: float | None = None
    attempt: AttemptRecord | None = None
