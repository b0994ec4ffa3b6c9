"""What is known of a conversation, and of an inbox, while it is followed: what comes in becomes what is told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from .errors import FleetLMError
from .events import ClosedEvent, Event, Joined, MessageEvent, ReadEvent, StatusEvent, TypingEvent
from .presence import Presence
from .records import Entry, InboxChange, Member, Message, entry_of, members_of, message_of
from .runs import Runs

Json = Mapping[str, Any]
T_co = TypeVar("T_co", covariant=True)

PAGE: Final = 200
"""The largest page that a server gives."""
FAR_BEHIND: Final = 1_000
"""More than that is not waited for on the connection: whoever wants it reads it page by page, as fast as it can use it."""


class Topic(Protocol[T_co]):
    """What a feed tells of: the pure half of following something."""

    def place(self) -> dict[str, Any]:
        """The payload of the next join."""

    def is_far_behind(self, reply: Json) -> bool:
        """Whether a join's reply is too old to go on from; then the next join is at the end."""

    def joined(self, reply: Json) -> Sequence[T_co]:
        """What a join's reply tells."""

    def take(self, event: str, payload: Json) -> Sequence[T_co]:
        """What an event tells. Raises `runs.Gap` if only another join can tell what is missing before it."""

    def status(self, status: StatusEvent) -> Sequence[T_co]:
        """What the loss or return of the connection tells."""

    def closed(self, reason: str) -> Sequence[T_co]:
        """What the end tells."""

    def now(self) -> Sequence[T_co]:
        """What a newcomer is told instead of a join's reply."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A join, as those who follow a conversation are told of it."""

    joined: Joined
    messages: Sequence[Message] | None
    """Those of the reply; None for a newcomer, who has to read them himself."""


class ConversationTopic:
    """A conversation that is followed."""

    def __init__(self, me: Callable[[], str | None], place: Json) -> None:
        self.seq: int | None = None
        """The newest that was told."""
        self.epoch = ""
        self._me = me
        self._first = dict(place)
        self._reply: Json = {}
        self._reads: dict[str, int] = {}
        self._runs = Runs()
        self._presence = Presence()
        self._typing: dict[str, None] = {}

    def place(self) -> dict[str, Any]:
        """Where the first one who follows wanted to begin; later, after what was told."""
        if self.seq is None:
            return self._first
        return {"after": self.seq, "epoch": self.epoch, "limit": PAGE}

    def is_far_behind(self, reply: Json) -> bool:
        """See `Topic`."""
        far: bool = reply["last_seq"] - _start(reply) > FAR_BEHIND
        if far:
            self.seq, self._first = None, {"limit": 1}
        return far

    def joined(self, reply: Json) -> list[Event | Arrival]:
        """See `Topic`."""
        self._reply = reply
        self.epoch = reply["epoch"]
        messages = tuple(map(message_of, reply["messages"]))
        self.seq = _start(reply)
        self._reads = {}
        self._typing = {}
        self._presence.sync(reply.get("presence", {}))
        told = self._runs.join(reply["runs"])
        return [Arrival(self._as_joined(reply["last_seq"]), messages), *told]

    def take(self, event: str, payload: Json) -> list[Event | Arrival]:
        """See `Topic`. Events that this version does not know are passed over."""
        told = self._told(event, payload)
        return [] if told is None else [told]

    def status(self, status: StatusEvent) -> list[Event | Arrival]:
        """See `Topic`."""
        return [status]

    def closed(self, reason: str) -> list[Event | Arrival]:
        """See `Topic`."""
        return [ClosedEvent(reason)]

    def now(self) -> list[Event | Arrival]:
        """See `Topic`."""
        return [Arrival(self._as_joined(self.seq or 0), None)]

    def _told(self, event: str, payload: Json) -> Event | None:
        match event:
            case "message":
                self.seq = max(self.seq or 0, payload["seq"])
                return MessageEvent(message_of(payload))
            case "delta":
                return self._runs.grow(payload)
            case "run":
                return self._runs.change(payload)
            case "typing":
                return self._typed(payload["participant_id"], on=payload["on"])
            case "read":
                return self._has_read(payload["participant_id"], payload["seq"])
            case "presence_state":
                return self._presence.sync(payload)
            case "presence_diff":
                return self._presence.diff(payload["joins"], payload["leaves"])
        return None

    def _typed(self, participant_id: str, *, on: bool) -> TypingEvent | None:
        if participant_id == self._me() or on == (participant_id in self._typing):
            return None
        if on:
            self._typing[participant_id] = None
        else:
            del self._typing[participant_id]
        return TypingEvent(participant_id, on)

    def _has_read(self, participant_id: str, seq: int) -> ReadEvent:
        self._reads[participant_id] = seq
        return ReadEvent(participant_id, seq)

    def _as_joined(self, last_seq: int) -> Joined:
        reply = self._reply
        return Joined(
            key=reply["key"],
            epoch=reply["epoch"],
            last_seq=last_seq,
            dm_key=reply["dm_key"],
            kind=reply["kind"],
            state=reply["state"],
            members=tuple(map(self._member, members_of(reply["members"]))),
            runs=self._runs.live,
            typing=tuple(self._typing),
            present=self._presence.present,
        )

    def _member(self, member: Member) -> Member:
        seq = max(self._reads.get(member.id, 0), member.last_read_seq)
        return Member(member.id, member.kind, member.display_name, member.role, seq)


class InboxTopic:
    """An inbox that is followed."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._told = False

    def place(self) -> dict[str, Any]:
        """See `Topic`. A join always brings all of it."""
        return {}

    def is_far_behind(self, reply: Json) -> bool:
        """See `Topic`."""
        return False

    def joined(self, reply: Json) -> list[InboxChange]:
        """See `Topic`."""
        before, self._entries = self._entries, {}
        for entry in map(entry_of, reply["conversations"]):
            self._entries[entry.key] = entry
        changed = [entry for key, entry in self._entries.items() if before.get(key) != entry]
        removed = [key for key in before if key not in self._entries]
        is_news = bool(changed or removed) or not self._told
        self._told = True
        return [InboxChange(tuple(changed), tuple(removed))] if is_news else []

    def take(self, event: str, payload: Json) -> list[InboxChange]:
        """See `Topic`."""
        if event != "tick":
            return []
        updates = tuple(map(entry_of, payload["updates"]))
        self._entries.update({entry.key: entry for entry in updates})
        removed = tuple(payload.get("removed", ()))
        for key in removed:
            self._entries.pop(key, None)
        return [InboxChange(updates, removed)]

    def status(self, status: StatusEvent) -> list[InboxChange]:
        """See `Topic`. An inbox says nothing of its connection."""
        return []

    def closed(self, reason: str) -> list[InboxChange]:
        """See `Topic`."""
        return []

    def now(self) -> list[InboxChange]:
        """See `Topic`."""
        newest_first = sorted(self._entries.values(), key=lambda entry: entry.updated_at, reverse=True)
        return [InboxChange(tuple(newest_first), ())]


def _start(reply: Json) -> int:
    """The seq after which the connection goes on. Event streams say it where they bring no messages."""
    messages = reply["messages"]
    seq: int = messages[-1]["seq"] if messages else reply.get("start", reply["last_seq"])
    return seq


def closing(error: FleetLMError) -> str | None:
    """Why something that could be followed before is over, if that is what a refusal says."""
    reasons = {"not_a_member": "removed", "conversation_not_found": "deleted", "not_found": "deleted"}
    return reasons.get(error.code)
