"""All that the chat knows of one conversation at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetlm_client.records import Member, Run

Record = Mapping[str, Any]

RECENT = 20
"""Among so many of the newest messages is that of a run which has just ended."""


@dataclass(frozen=True)
class Pending:
    """A message of one's own that is not known to be stored. `error` says why it was refused."""

    client_id: str
    text: str
    error: str = ""


@dataclass
class Transcript:
    """The messages that are here, what is under way, and who is there."""

    me: str
    epoch: str = ""
    messages: list[Record] = field(default_factory=list)
    """Ascending, with no hole."""
    members: dict[str, Member] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    typing: set[str] = field(default_factory=set)
    present: frozenset[str] = frozenset()
    read: int = 0
    """How far one has read."""
    unread_from: int | None = None
    """The message above which the marker stands."""
    closed: str = ""
    """Why nothing more comes."""
    _was_there: int = 0
    """The newest message when one came: up to there, what is not read gets the marker."""

    @property
    def last_seq(self) -> int:
        """The newest message that is here; 0 for none."""
        return int(self.messages[-1]["seq"]) if self.messages else 0

    @property
    def has_older(self) -> bool:
        """Whether there are messages before those that are here."""
        return bool(self.messages) and bool(self.messages[0]["seq"] > 1)

    @property
    def running(self) -> list[Run]:
        """The answers that can be cancelled."""
        return [one for one in self.runs.values() if one.live]

    def take_join(self, members: Iterable[Member], last_seq: int, typing: Iterable[str] = ()) -> None:
        """One has joined, or joined again. The messages, and the runs under way, are taken after it."""
        self.members = {one.id: one for one in members}
        self.runs.clear()
        self.typing = set(typing)
        self.closed = ""
        if self.me in self.members:
            self.read = max(self.read, self.members[self.me].last_read_seq)
        self._was_there = last_seq

    def reset(self) -> None:
        """The log is another one than before."""
        self.messages.clear()
        self.runs.clear()
        self.unread_from = None
        self.read = self._was_there = 0

    def take_older(self, messages: Sequence[Record]) -> None:
        """Put a page before what is here."""
        first = self.messages[0]["seq"] if self.messages else None
        older = [one for one in messages if first is None or one["seq"] < first]
        self.messages[:0] = older
        for message in older:
            self._settle(message)
            self._redact(message)

    def take(self, message: Record) -> None:
        """The next message."""
        if message["seq"] <= self.last_seq:
            return
        self.messages.append(message)
        self._settle(message)
        self._redact(message)
        if message["sender_id"] == self.me:
            self.read = max(self.read, message["seq"])
            self.unread_from = None
        elif message["seq"] <= self._was_there and self.unread_from is None and self._is_unread(message):
            self.unread_from = message["seq"]

    def mark_unread(self) -> None:
        """Let the marker stand above the first message of others that is not read; none if all are."""
        self.unread_from = next((one["seq"] for one in self.messages if self._is_unread(one)), None)

    def _is_unread(self, message: Record) -> bool:
        return (
            message["seq"] > self.read
            and message["sender_id"] != self.me
            and message["kind"] not in ("system", "redaction")
        )

    def _settle(self, message: Record) -> None:
        """What was under way is now stored."""
        if message["sender_id"] == self.me:
            self.pending.pop(message["client_id"], None)
        self.runs.pop(message["content"].get("run_id", ""), None)
        self.typing.discard(message["sender_id"])

    def _redact(self, message: Record) -> None:
        if message["kind"] != "redaction":
            return
        for place, other in enumerate(self.messages):
            if other["seq"] == message["reply_to"]:
                self.messages[place] = {**other, "text": "", "content": {}}

    def take_run(self, run: Run) -> None:
        """What an agent does now. One that has ended stays until its message is here, or if it failed for good."""
        stored = any(one["content"].get("run_id") == run.run_id for one in self.messages[-RECENT:])
        said_nothing = run.status in ("finished", "cancelled") and not run.text
        if stored or said_nothing or run.retry:
            self.runs.pop(run.run_id, None)
        else:
            self.runs[run.run_id] = run

    def take_typing(self, participant_id: str, on: bool) -> None:
        """Someone types, or has stopped."""
        (self.typing.add if on else self.typing.discard)(participant_id)

    def take_read(self, participant_id: str, seq: int) -> None:
        """Someone has read so far."""
        if participant_id == self.me:
            self.read = max(self.read, seq)
