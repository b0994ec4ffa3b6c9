"""What a server tells of, as frozen dataclasses. The fields have the names that they have on the wire.

Times are ISO 8601 in UTC. `raw` is the JSON object as it came, with whatever this version does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, wraps
from typing import Any, Literal, NamedTuple, TypeVar, cast

from .errors import INVALID_ANSWER, FleetLMError

T = TypeVar("T")

RunStatus = Literal["started", "streaming", "finished", "failed", "cancelled"]
"""`finished` is also said of a run that ended, however, while the connection was lost."""

LIVE: tuple[RunStatus, ...] = ("started", "streaming")


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation's log.

    `kind` is `text`, `system`, `redaction` (it blanks the message at `reply_to`), or one of your own.
    """

    id: str
    seq: int
    conversation: str
    sender_id: str
    created_at: str
    dm_key: str | None = None
    kind: str = "text"
    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reply_to: int | None = None
    mentions: Sequence[str] = ()
    client_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a message was stored. `deduplicated`: an earlier try had stored it."""

    id: str
    seq: int
    created_at: str
    deduplicated: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a log, oldest message first. `has_more`: there is more in the direction that was asked for."""

    messages: Sequence[Message]
    epoch: str
    last_seq: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found so far; `cursor` is None when there is nothing left to look at."""

    messages: Sequence[Message]
    cursor: str | None
    examined: int


@dataclass(frozen=True, slots=True)
class Member:
    """One who takes part; `kind` is `user`, `agent` or `system`, `role` is `member` or `admin`."""

    id: str
    kind: str = "user"
    display_name: str = ""
    role: str = "member"
    last_read_seq: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One call of an agent, and what it has said so far."""

    run_id: str
    agent_id: str
    status: RunStatus = "started"
    text: str = ""
    """What its message's text would be if it ended now."""
    chunks: Sequence[Mapping[str, Any]] = ()
    """All its chunks so far; neighbouring pieces of one text are one."""
    to: int = 0
    """How many chunks that were on the wire."""
    seq: int | None = None
    """That of its last message, once it has ended with one."""
    error: str | None = None
    retry: bool = False
    """Whether it failed and the agent is called again, as another run."""

    @property
    def live(self) -> bool:
        """Whether it is under way."""
        return self.status in LIVE


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation as REST tells of it; in lists without `metadata` and `participants`.

    `kind` is `dm`, `group` or `broadcast`, `state` is `open`, `closed` or `archived`; `handed_to` is the person who has
    taken over from the agents.
    """

    key: str
    epoch: str
    kind: str
    state: str
    last_seq: int
    created_at: str
    updated_at: str
    dm_key: str | None = None
    title: str = ""
    handed_to: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    participants: Sequence[Member] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Conversations:
    """A page of conversations, newest first; `next` is the cursor of the page after it."""

    conversations: Sequence[ConversationInfo]
    next: int | None


@dataclass(frozen=True, slots=True)
class LastMessage:
    """The newest message of an inbox entry; `text` holds its first 140 characters."""

    seq: int
    sender_id: str
    text: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation in an inbox. `participants` are the first 50."""

    key: str
    kind: str
    updated_at: str
    dm_key: str | None = None
    title: str = ""
    state: str = "open"
    participants: Sequence[str] = ()
    last_message: LastMessage | None = None
    unread_count: int = 0
    mention_count: int = 0
    last_read_seq: int = 0
    muted: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class InboxChange(NamedTuple):
    """What has changed in an inbox; the first one holds all of it. An entry replaces the one with its key."""

    entries: Sequence[Entry]
    """The newest first."""
    removed: Sequence[str]
    """Keys that left the inbox."""


def _answer(read: Callable[[Any], T]) -> Callable[[Any], T]:
    """For what is read from an answer: one that is not FleetLM's is the `FleetLMError` `invalid_answer`."""

    @wraps(read)
    def checked(raw: Any) -> T:
        try:
            return read(raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FleetLMError(INVALID_ANSWER, "Whoever answered is no FleetLM.") from error

    return checked


def message_of(raw: Mapping[str, Any]) -> Message:
    """A message as it was sent."""
    return _known(Message, raw, raw=raw)


@_answer
def sent_of(raw: Mapping[str, Any]) -> Sent:
    """The acknowledgement of a send."""
    return _known(Sent, raw)


@_answer
def page_of(raw: Mapping[str, Any]) -> Page:
    """A page of the log."""
    return _known(Page, raw, messages=tuple(map(message_of, raw["messages"])))


@_answer
def found_of(raw: Mapping[str, Any]) -> Found:
    """The answer to a search."""
    return _known(Found, raw, messages=tuple(map(message_of, raw["messages"])))


def members_of(raw: Sequence[Mapping[str, Any]]) -> tuple[Member, ...]:
    """A list of members."""
    return tuple(_known(Member, one) for one in raw)


@_answer
def info_of(raw: Mapping[str, Any]) -> ConversationInfo:
    """A conversation as REST tells of it."""
    return _known(ConversationInfo, raw, participants=members_of(raw.get("participants", ())), raw=raw)


@_answer
def conversations_of(raw: Mapping[str, Any]) -> Conversations:
    """A page of conversations."""
    return Conversations(tuple(map(info_of, raw["conversations"])), raw["next"])


def entry_of(raw: Mapping[str, Any]) -> Entry:
    """An inbox entry."""
    last = raw.get("last_message")
    return _known(Entry, raw, last_message=None if last is None else _known(LastMessage, last), raw=raw)


@_answer
def inbox_of(raw: Mapping[str, Any]) -> list[Entry]:
    """All entries of an inbox."""
    return [entry_of(one) for one in raw["conversations"]]


@_answer
def seq_of(raw: Mapping[str, Any]) -> int:
    """Where a read cursor stands."""
    return int(raw["seq"])


@cache
def _names(cls: Hashable) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cast("Any", cls)))


def _known(cls: type[T], values: Mapping[str, Any], **more: Any) -> T:
    """An instance of the fields that this version knows, so that new ones break nothing."""
    return cls(**{name: values[name] for name in _names(cast("Hashable", cls)) if name in values} | more)
