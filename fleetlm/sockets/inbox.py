"""`inbox:<participant_id>`: the snapshot, then ticks. One's own only."""

from fleetlm.sockets.channel import Channel, UnknownEvent
from fleetlm.sockets.phoenix import Frame

PREFIX = "inbox:"


class InboxChannel(Channel):
    """A join of one inbox."""

    kind = "inbox"

    async def join(self, frame: Frame) -> None:
        """Reply with every entry; a tick follows for what changes."""
        self.owner = self.socket.principal.read_inbox_of(frame.topic.removeprefix(PREFIX))
        inboxes = self.socket.runtime.inboxes
        snapshot = await inboxes.join(self.owner, self)
        self.reply(frame, "ok", b'{"conversations":' + snapshot + b"}")
        inboxes.ready(self.owner, self)

    async def handle(self, frame: Frame) -> None:
        """An inbox takes no events."""
        raise UnknownEvent(event=frame.event[:64])

    def leave(self) -> None:
        """Get no more ticks."""
        self.socket.runtime.inboxes.leave(self.owner, self)
