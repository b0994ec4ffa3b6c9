"""From the SDK's events to the transcript."""

from __future__ import annotations

from fleetlm_client import (
    ClosedEvent,
    DeltaEvent,
    Event,
    Joined,
    MessageEvent,
    PresenceEvent,
    ReadEvent,
    ResetEvent,
    RunEvent,
    StatusEvent,
    TypingEvent,
)
from fleetlm_client.cli.terminal.transcript import Transcript

ENDS = {
    "removed": "You are no member of this conversation any more.",
    "deleted": "This conversation was deleted.",
}


def feed(event: Event, transcript: Transcript, status: str) -> str:
    """Take note of an event; the status of the connection after it."""
    match event:
        case Joined():
            transcript.take_join(event.members, event.last_seq, event.typing)
            transcript.epoch = event.epoch
            transcript.present = frozenset(event.present)
            return "online"
        case StatusEvent():
            return event.status
        case MessageEvent():
            transcript.take(event.message.raw)
        case RunEvent() | DeltaEvent():
            transcript.take_run(event.run)
        case TypingEvent():
            transcript.take_typing(event.participant_id, event.on)
        case ReadEvent():
            transcript.take_read(event.participant_id, event.seq)
        case PresenceEvent():
            transcript.present = frozenset(event.present)
        case ResetEvent():
            transcript.reset()
        case ClosedEvent():
            transcript.closed = ENDS.get(event.reason, event.reason)
            return "closed"
    return status
