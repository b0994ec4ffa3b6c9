"""What a dialect is: how a call is written, and how its answer is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from agents.door import Response
from agents.rules import ContextMessage, Draft
from conversations.rules import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything that one call of an agent is about."""

    call_id: UUID
    run_id: UUID
    agent_id: str
    key: str
    is_dm: bool
    epoch: UUID
    messages: Sequence[ContextMessage]
    """The context, oldest first."""
    new_from_seq: int
    participants: Sequence[Mapping[str, str]]
    reply_url: str
    secrets: Sequence[str]
    """Signing secrets, in plain."""
    now: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted."""

    headers: dict[str, str]
    body: bytes


class Dialect(Protocol):
    """One way to speak to agents."""

    def write(self, call: Call) -> Request:
        """The request of a call: a retry has the same body but for what names the attempt."""

    def read(self, response: Response, limits: Limits) -> tuple[Draft, ...] | None:
        """The messages of the answer, or None when the agent has accepted the call and will post them itself.

        Raises `agents.errors.CallError` for anything else; the call is then made again.
        """
