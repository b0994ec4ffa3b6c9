"""Who is calling, and what follows from it. Pure."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from conversations import rules
from conversations.errors import InvalidRequest, NotAllowed, NotAMember

Scope = Literal["read", "write", "admin"]

ALL_SCOPES: Final = frozenset[str]({"read", "write", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A server (an API key, or open mode without a name) or a participant.

    `participant_id` is None for a server, which may speak for anyone within its scopes. `conversations` narrows a participant's
    token to these canonical keys. `expires_at` is in seconds since 1970, or None.
    """

    scopes: AbstractSet[str]
    participant_id: str | None = None
    conversations: AbstractSet[str] | None = None
    expires_at: float | None = None
    may_create: bool = False

    @property
    def is_server(self) -> bool:
        """Whether this is a server, not a participant."""
        return self.participant_id is None

    def require(self, scope: Scope) -> None:
        """Raise `NotAllowed` unless this scope is held; `admin` includes the others."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise NotAllowed(f"This needs the scope {scope}.", scope=scope)

    def require_server(self, scope: Scope) -> None:
        """Raise `NotAllowed` unless this is a server with the scope."""
        if not self.is_server:
            raise NotAllowed("This is for API keys, not for participant tokens.")
        self.require(scope)

    def speak_as(self, participant_id: str | None) -> str:
        """The participant in whose name this principal acts: its own, or the one that a server names."""
        if self.participant_id is None:
            if participant_id is None:
                raise InvalidRequest("Say who speaks: an API key has no name of its own.", field="sender_id")
            return rules.check_id(participant_id, "participant_id")
        if participant_id is not None and participant_id != self.participant_id:
            raise NotAllowed(
                "A participant token acts only as its own participant.", participant_id=participant_id
            )
        return self.participant_id

    def read_inbox_of(self, participant_id: str) -> str:
        """The participant whose inbox is read. An inbox shows every conversation: a narrowed token reads none."""
        self.require("read")
        if self.conversations is not None:
            raise NotAllowed("A token that is narrowed to some conversations reads no inbox.")
        return self.speak_as(participant_id)

    def require_key(self, key: str) -> None:
        """Raise `NotAMember` where the answer does not depend on the database: narrowed tokens and others' dms."""
        if self.is_server:
            return
        narrowed = self.conversations is not None and key not in self.conversations
        if narrowed or (rules.is_dm(key) and self.participant_id not in rules.dm_participants(key)):
            raise NotAMember(key=key)


OPEN_SERVER: Final = Principal(scopes=ALL_SCOPES, may_create=True)


def open_participant(participant_id: str) -> Principal:
    """In open mode a socket may simply say who it is."""
    rules.check_id(participant_id, "participant_id")
    return Principal(scopes=frozenset({"read", "write"}), participant_id=participant_id, may_create=True)
