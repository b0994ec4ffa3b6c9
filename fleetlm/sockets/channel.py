"""What the topics of a socket have in common: an address, replies, and how they end."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from conversations.errors import FleetLMError
from fleetlm.sockets import phoenix
from fleetlm.sockets.outbox import Outbox
from fleetlm.sockets.phoenix import Frame, Version

if TYPE_CHECKING:
    from fleetlm.sockets.consumer import Socket


class UnknownEvent(FleetLMError):
    """The topic has no such event."""

    code = "unknown_event"
    message = "This topic does not know that event."


@dataclass(frozen=True, slots=True)
class TopicAddress:
    """Subscribers with the same serializer, topic, join_ref and kind of outbox get the same bytes."""

    version: Version
    topic: str
    join_ref: str | None
    outbox: type[Outbox]

    def frame(self, event: str, payload: bytes, seq: int | None) -> Any:
        """A push of the server: it has no ref."""
        text = phoenix.encode(self.version, self.join_ref, None, self.topic, event, payload)
        return self.outbox.frame(text)


class Channel(ABC):
    """One joined topic of one socket; a `Subscriber` of what it joined."""

    kind = ""

    def __init__(self, socket: "Socket", frame: Frame) -> None:
        self.socket = socket
        self.topic = frame.topic
        self.join_ref = frame.join_ref
        self.participant_id = socket.principal.participant_id
        self.address = TopicAddress(socket.version, frame.topic, frame.join_ref, type(socket.outbox))

    @abstractmethod
    async def join(self, frame: Frame) -> None:
        """Take part and reply; raises what is to be replied as an error."""

    @abstractmethod
    async def handle(self, frame: Frame) -> None:
        """Serve an event and reply; raises what is to be replied as an error."""

    @abstractmethod
    def leave(self) -> None:
        """Take part no longer."""

    @property
    def behind(self) -> bool:
        """Whether the socket has much unsent."""
        return self.socket.outbox.behind

    def write(self, frame: Any) -> None:
        """Send a frame of this topic's address."""
        self.socket.outbox.write(frame)

    async def drained(self) -> None:
        """Return when the socket has room again."""
        await self.socket.outbox.drained()

    def push(self, event: str, payload: Any) -> None:
        """Send an event of a JSON-ready payload to this subscriber alone."""
        self.write(self.address.frame(event, orjson.dumps(payload), None))

    def reply(self, frame: Frame, status: Literal["ok", "error"], response: Any) -> None:
        """Answer a frame; bytes are taken for JSON already encoded."""
        self.socket.reply(frame, status, response)

    def end(self, reason: str) -> None:
        """The topic is over: the client is told, and does not join again by itself."""
        self.socket.drop(self)
        self.push("phx_close", {"reason": reason})
