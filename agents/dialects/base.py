"""What a dialect is: how a call is written, and how its answer is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from agents.chunks import Chunk
from agents.door import Head
from agents.rules import ContextMessage, Draft
from conversations.rules import Limits


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one call of an agent is about."""

    call_id: UUID
    run_id: UUID
    agent_id: str
    key: str
    is_dm: bool
    epoch: UUID
    messages: Sequence[ContextMessage]
    """The context, oldest first: see `agents.context`."""
    new_from_seq: int
    participants: Sequence[Mapping[str, str]]
    reply_url: str
    secrets: Sequence[str]
    """Signing secrets, in plain."""
    now: datetime
    url: str
    """The endpoint's; a dialect may add its path."""
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Of the endpoint, as the dialect's `check_options` has passed them."""
    api_key: str | None = None
    """Sent as `Authorization: Bearer`."""
    custom_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    event: str = "message.created"
    """What the call is for: `ping` is a test, of which nothing is stored."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted, and where to. The names of headers are in lower case."""

    url: str
    headers: dict[str, str]
    body: bytes


class Reader(Protocol):
    """Reads one answer, without I/O: give it the body's bytes until it is `done` or the body ends, then ask it for
    the `result`."""

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes; returns what those who follow the run are to see at once.

        Raises `AnswerInvalid` as soon as the answer cannot become messages any more, `AgentFailed` when the agent
        reports an error.
        """

    def end(self) -> list[Chunk]:
        """The body has ended; returns what is still to be seen. Once, and before `result`; the same errors."""

    @property
    def done(self) -> bool:
        """The answer says that it is over: read no further."""

    @property
    def complete(self) -> bool:
        """The answer is whole already: if the connection breaks now, nothing is lost, and `result` can be had."""

    def result(self) -> tuple[Draft, ...] | None:
        """The messages of the whole answer, or None when the agent has accepted the call and will post them itself.

        A streamed answer is one message, or none if nothing was said. Raises `AnswerInvalid` if a stream broke off
        in the middle, or for an answer of another shape than the dialect's.
        """

    def said(self) -> Draft | None:
        """What has been said so far: what a run that is cancelled keeps. None if that is nothing."""


class Dialect(Protocol):
    """One way to speak to agents."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise `InvalidRequest` for options of an endpoint that this dialect cannot use."""

    def write(self, call: Call) -> Request:
        """The request of a call: a retry has the same body but for what names the attempt."""

    def reader(self, head: Head, limits: Limits, call: Call | None = None) -> Reader:
        """What reads the answer with this head to a call. Raises `CallRefused` for a status that it does not take, and
        `AnswerInvalid` for a type of content; `AnswerInvalid` and `AgentFailed` carry the status."""
