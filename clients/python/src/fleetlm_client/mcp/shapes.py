"""What the tools give to a model: less than the wire, and never more than it can read. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetlm_client import ConversationInfo, Entry, Message

CHARACTERS = 40_000
"""Of all messages of one answer together, about; one message alone is given whole."""
EXCERPT = 500
"""Characters of a message that a search has found."""


@dataclass(frozen=True)
class Said:
    """One message."""

    seq: int
    sender_id: str
    created_at: str
    text: str
    kind: str = "text"
    reply_to: int | None = None
    content: dict[str, Any] = field(default_factory=dict)
    """Only of messages without text."""


@dataclass(frozen=True)
class Log:
    """A part of a conversation, oldest message first."""

    key: str
    messages: list[Said]
    last_seq: int
    has_more: bool
    """Whether there is more in the direction that was read."""


@dataclass(frozen=True)
class Summary:
    """A conversation in the inbox."""

    key: str
    kind: str
    title: str
    participants: list[str]
    unread_count: int
    mention_count: int
    last_read_seq: int
    last_message: Said | None
    """Its first 140 characters."""


@dataclass(frozen=True)
class Inbox:
    """Conversations, the newest first."""

    participant_id: str
    conversations: list[Summary]
    total: int
    """How many there are, also those that are left out here."""


@dataclass(frozen=True)
class Taker:
    """One who takes part."""

    id: str
    kind: str
    display_name: str
    role: str


@dataclass(frozen=True)
class Conversation:
    """What a conversation is, and who takes part."""

    key: str
    kind: str
    state: str
    title: str
    last_seq: int
    handed_to: str | None
    """The person who has taken over; until it is given back no agent is called."""
    participants: list[Taker]


@dataclass(frozen=True)
class Hit:
    """A message that was found; `text` is an excerpt."""

    key: str
    seq: int
    sender_id: str
    created_at: str
    text: str


@dataclass(frozen=True)
class Hits:
    """What was found. There may be more, even if this is empty, until `cursor` is null."""

    messages: list[Hit]
    cursor: str | None


@dataclass(frozen=True)
class Stored:
    """Where a message was stored; `deduplicated`: this idempotency key had stored it before."""

    key: str
    id: str
    seq: int
    deduplicated: bool


def newest(key: str, messages: Sequence[Message], last_seq: int, has_more: bool) -> Log:
    """As many of these messages as fit, from the newest backwards."""
    kept = _that_fit([said(message) for message in reversed(messages)])
    return Log(key, kept[::-1], last_seq, has_more or len(kept) < len(messages))


def oldest(key: str, messages: Sequence[Message], last_seq: int, has_more: bool) -> Log:
    """As many of these messages as fit, from the oldest on."""
    kept = _that_fit([said(message) for message in messages])
    return Log(key, kept, last_seq, has_more or len(kept) < len(messages))


def said(message: Message) -> Said:
    """A message; its content only if it says nothing else."""
    return Said(
        seq=message.seq,
        sender_id=message.sender_id,
        created_at=message.created_at,
        text=message.text,
        kind=message.kind,
        reply_to=message.reply_to,
        content={} if message.text else dict(message.content),
    )


def summary(entry: Entry) -> Summary:
    """An inbox entry."""
    last = entry.last_message
    return Summary(
        key=entry.key,
        kind=entry.kind,
        title=entry.title,
        participants=list(entry.participants),
        unread_count=entry.unread_count,
        mention_count=entry.mention_count,
        last_read_seq=entry.last_read_seq,
        last_message=Said(last.seq, last.sender_id, last.created_at, last.text) if last else None,
    )


def conversation(info: ConversationInfo) -> Conversation:
    """A conversation with its members."""
    takers = [Taker(one.id, one.kind, one.display_name, one.role) for one in info.participants]
    return Conversation(info.key, info.kind, info.state, info.title, info.last_seq, info.handed_to, takers)


def hit(message: Message, query: str) -> Hit:
    """A message that a search has found."""
    return Hit(
        message.conversation, message.seq, message.sender_id, message.created_at, excerpt(message.text, query)
    )


def excerpt(text: str, query: str) -> str:
    """`EXCERPT` characters of the text, around the first of the words."""
    if len(text) <= EXCERPT:
        return text
    places = [text.lower().find(word) for word in query.lower().split()]
    start = max(0, min((place for place in places if place >= 0), default=0) - EXCERPT // 4)
    end = start + EXCERPT
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _that_fit(messages: Sequence[Said]) -> list[Said]:
    """The first of these, and as many after it as fit."""
    kept: list[Said] = []
    left = CHARACTERS
    for message in messages:
        left -= _size(message.text, message.content)
        if kept and left < 0:
            break
        kept.append(message)
    return kept


def _size(text: str, content: Mapping[str, Any]) -> int:
    return len(text) + (len(json.dumps(content)) if content else 0)
