"""How a batch of appends is decided: pure, so that every interleaving can be tested without a database.

The caller holds the locks of the conversations; `plan` gives out seqs and says what each request comes to. One bad request
fails alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from conversations import rules
from conversations.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    FleetLMError,
    InvalidRequest,
    NotAllowed,
    NotAMember,
    SeqConflict,
)

Members = Mapping[str, str]
"""The members of one conversation: participant id → role."""


# Structs, not dataclasses: a frozen dataclass of so many fields takes ten times as long to make.


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One message to append. `key` is canonical; texts and JSON have been checked against the limits.

    `privileged` says that a server speaks (an API key, or open mode): it may write system messages, redact anything and
    write to broadcasts. `size` is about how many bytes it holds, for the bounds of queues.
    """

    key: str
    sender_id: str
    text: str = ""
    kind: str = "text"
    content: Mapping[str, Any] = msgspec.field(default_factory=dict)
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    client_id: str | None = None
    reply_to: int | None = None
    expected_seq: int | None = None
    privileged: bool = False
    size: int = 0


class Head(msgspec.Struct):
    """A locked conversation: its counters move as the plan gives out seqs."""

    id: int
    key: str
    epoch: UUID
    kind: str
    state: str
    last_seq: int
    countable: int
    version: int
    last_message: dict[str, Any] | None = None
    changed: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is stored, with the conversation's key instead of a foreign key."""

    id: UUID
    seq: int
    conversation_id: int
    conversation: str
    countable: int
    sender_id: str
    kind: str
    text: str
    content: Mapping[str, Any]
    metadata: Mapping[str, Any]
    reply_to: int | None
    mentions: Sequence[str]
    client_id: str | None
    created_at: datetime


class Appended(msgspec.Struct, frozen=True):
    """What an append came to: the stored message, and whether it had been stored before."""

    message: Message
    deduplicated: bool


Outcome = Appended | FleetLMError
DuplicateKey = tuple[str, str, str]
"""Conversation key, sender id, client id."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the database knows that matters to a batch, read under the conversations' locks."""

    heads: Mapping[str, Head]
    members: Mapping[int, Members]
    duplicates: Mapping[DuplicateKey, Message]
    senders: Mapping[tuple[str, int], str]
    """Who sent the targets of redactions: (conversation key, seq) → sender id."""


@dataclass(slots=True)
class Plan:
    """Outcomes in the order of the requests, and the messages to insert in the order of their seqs."""

    outcomes: list[Outcome] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


def plan(requests: Sequence[AppendRequest], known: Known, now: datetime, new_id: Callable[[], UUID]) -> Plan:
    """Decide a batch. Seqs continue each conversation's `last_seq` without a hole; heads are moved in place."""
    result = Plan()
    duplicates = dict(known.duplicates)
    for request in requests:
        try:
            appended = _decide(request, known, duplicates, now, new_id)
        except FleetLMError as error:
            result.outcomes.append(error)
            continue
        result.outcomes.append(appended)
        if not appended.deduplicated:
            result.messages.append(appended.message)
            if request.client_id is not None:
                duplicates[request.key, request.sender_id, request.client_id] = appended.message
    return result


def _decide(
    request: AppendRequest,
    known: Known,
    duplicates: Mapping[DuplicateKey, Message],
    now: datetime,
    new_id: Callable[[], UUID],
) -> Appended:
    head = known.heads.get(request.key)
    if head is None:
        raise ConversationNotFound(key=request.key)
    members = known.members.get(head.id, {})
    _check_sender(request, head, members)
    if request.client_id is not None:
        stored = duplicates.get((request.key, request.sender_id, request.client_id))
        if stored is not None:
            if not same_body(request, stored):
                raise ClientIdReused(client_id=request.client_id, seq=stored.seq)
            return Appended(stored, deduplicated=True)
    _check_state(request, head)
    if request.kind == "redaction":
        _check_redaction(request, members, known)
    return Appended(_next_message(request, head, members, now, new_id), deduplicated=False)


def _check_sender(request: AppendRequest, head: Head, members: Members) -> None:
    if request.kind == "system" and request.privileged:
        return
    if head.kind == "broadcast":
        if not request.privileged and members.get(request.sender_id) != "admin":
            raise NotAllowed("Only an API key or an admin of the conversation may write to a broadcast.")
    elif request.sender_id not in members:
        raise NotAMember(participant_id=request.sender_id, key=request.key)
    if request.kind == "system":
        raise NotAllowed("Only an API key may write system messages.")


def _check_state(request: AppendRequest, head: Head) -> None:
    if head.state != "open":
        raise ConversationClosed(key=request.key, state=head.state)
    if request.expected_seq is not None and request.expected_seq != head.last_seq:
        raise SeqConflict(expected_seq=request.expected_seq, last_seq=head.last_seq)
    if request.reply_to is not None and not 1 <= request.reply_to <= head.last_seq:
        raise InvalidRequest(
            "reply_to must be the seq of an earlier message.", field="reply_to", last_seq=head.last_seq
        )


def _check_redaction(request: AppendRequest, members: Members, known: Known) -> None:
    if request.reply_to is None:
        raise InvalidRequest("A redaction names its target in reply_to.", field="reply_to")
    if request.privileged or members.get(request.sender_id) == "admin":
        return
    if known.senders.get((request.key, request.reply_to)) != request.sender_id:
        raise NotAllowed("Only its sender, an admin of the conversation or an API key may redact a message.")


def _next_message(
    request: AppendRequest, head: Head, members: Members, now: datetime, new_id: Callable[[], UUID]
) -> Message:
    counts = rules.counts_as_unread(request.kind)
    head.last_seq += 1
    head.countable += counts
    head.changed = True
    message = Message(
        id=new_id(),
        seq=head.last_seq,
        conversation_id=head.id,
        conversation=head.key,
        countable=head.countable,
        sender_id=request.sender_id,
        kind=request.kind,
        text=request.text,
        content=request.content,
        metadata=request.metadata,
        reply_to=request.reply_to,
        mentions=rules.mentions(request.text, members),
        client_id=request.client_id,
        created_at=now,
    )
    if counts:
        head.last_message = {
            "seq": message.seq,
            "sender_id": message.sender_id,
            "text": rules.preview(message.text),
            "created_at": timestamp(now),
        }
    elif request.kind == "redaction" and head.last_message and head.last_message["seq"] == request.reply_to:
        head.last_message = {**head.last_message, "text": ""}
    return message


def same_body(request: AppendRequest, stored: Message) -> bool:
    """Whether a retry carries what is stored. A redacted message is blank, so any body counts as the same."""
    if stored.metadata.get("redacted") is True:
        return True
    return (request.text, request.kind, request.content, request.metadata, request.reply_to) == (
        stored.text,
        stored.kind,
        stored.content,
        stored.metadata,
        stored.reply_to,
    )


@lru_cache(maxsize=256)
def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: `2026-01-31T12:00:00.000000Z`. `moment` is in UTC."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def message_as_dict(message: Message) -> dict[str, Any]:
    """A message as every client sees it; see the socket and REST documents for the fields."""
    return {
        "id": str(message.id),
        "seq": message.seq,
        "conversation": message.conversation,
        "dm_key": message.conversation if rules.is_dm(message.conversation) else None,
        "sender_id": message.sender_id,
        "kind": message.kind,
        "text": message.text,
        "content": message.content,
        "metadata": message.metadata,
        "reply_to": message.reply_to,
        "mentions": message.mentions,
        "client_id": message.client_id,
        "created_at": timestamp(message.created_at),
    }
