"""What a socket and event streams have in common: a topic is joined, and then tells of what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .errors import FleetLMError


class TopicClosed(Exception):
    """The server has ended the topic: `reason` is `removed` or `deleted`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Channel(Protocol):
    """A joined topic."""

    reply: Mapping[str, Any]
    """What the server said to the join."""

    async def next(self) -> tuple[str, Mapping[str, Any]]:
        """The next event and its payload. Raises `TopicClosed`, and `FleetLMError` when the connection is lost."""

    async def leave(self) -> None:
        """Leave the topic; does not fail."""


class Transport(Protocol):
    """A way to a server."""

    async def join(self, topic: str, place: Mapping[str, Any]) -> Channel:
        """Join a topic at this place. Raises `FleetLMError`."""


class NotOpened(FleetLMError):
    """No socket could be opened, and whoever answered, if anyone did, was no FleetLM: sockets may be blocked on the way."""
