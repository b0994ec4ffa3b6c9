"""What a session needs to know of those who follow it. Sockets and event streams implement it at the surface."""

from collections.abc import Hashable
from typing import Any, Final, Protocol

BEHIND_BYTES: Final = 64 * 1024
"""A subscriber with more than this unsent is behind. Well below the bytes at which a reader that is too slow is cut off."""


class Address(Hashable, Protocol):
    """How a frame is written for a subscriber. Subscribers with equal addresses get the same bytes, encoded once."""

    def frame(self, event: str, payload: bytes, seq: int | None) -> Any:
        """One frame around an encoded JSON payload; `seq` is given for messages of the log."""


class Subscriber(Protocol):
    """One socket's join of a topic, or one event stream."""

    @property
    def participant_id(self) -> str | None:
        """Whose rights it has; None for a server, which may read everything."""

    @property
    def address(self) -> Address:
        """How frames are written for it; it never changes."""

    @property
    def behind(self) -> bool:
        """Whether more than `BEHIND_BYTES` wait unsent: what can wait or be merged is then held back from it."""

    def write(self, frame: Any) -> None:
        """Take a frame made by this subscriber's address. Never blocks, never raises."""

    async def drained(self) -> None:
        """Return when there is room again: what a long replay waits for."""

    def end(self, reason: str) -> None:
        """The topic is over for this subscriber: `removed`, `deleted`."""
