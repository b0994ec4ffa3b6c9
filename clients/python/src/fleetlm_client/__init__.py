"""The client of FleetLM: conversations between people and agents.

    from fleetlm_client import AsyncFleetLM

    async with AsyncFleetLM("http://127.0.0.1:4000", participant_id="alice") as fleet:
        conversation = fleet.conversation("alice:echo-bot")
        await conversation.send("hello")
        async for message in conversation.messages():
            print(message.sender_id, message.text)

`FleetLM` is the same without `await`. What is named here is imported when it is first used: `import fleetlm_client` alone
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocking import Conversation, FleetLM
    from .client import AsyncFleetLM
    from .conversation import AsyncConversation
    from .errors import FleetLMError
    from .events import (
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
    from .records import (
        ConversationInfo,
        Conversations,
        Entry,
        Found,
        InboxChange,
        LastMessage,
        Member,
        Message,
        Page,
        Run,
        Sent,
    )
    from .retry import Timing

__all__ = [
    "AsyncConversation",
    "AsyncFleetLM",
    "ClosedEvent",
    "Conversation",
    "ConversationInfo",
    "Conversations",
    "DeltaEvent",
    "Entry",
    "Event",
    "FleetLM",
    "FleetLMError",
    "Found",
    "InboxChange",
    "Joined",
    "LastMessage",
    "Member",
    "Message",
    "MessageEvent",
    "Page",
    "PresenceEvent",
    "ReadEvent",
    "ResetEvent",
    "Run",
    "RunEvent",
    "Sent",
    "StatusEvent",
    "Timing",
    "TypingEvent",
]

_MODULES = {
    "blocking": ("Conversation", "FleetLM"),
    "client": ("AsyncFleetLM",),
    "conversation": ("AsyncConversation",),
    "errors": ("FleetLMError",),
    "events": (
        "ClosedEvent",
        "DeltaEvent",
        "Event",
        "Joined",
        "MessageEvent",
        "PresenceEvent",
        "ReadEvent",
        "ResetEvent",
        "RunEvent",
        "StatusEvent",
        "TypingEvent",
    ),
    "records": (
        "ConversationInfo",
        "Conversations",
        "Entry",
        "Found",
        "InboxChange",
        "LastMessage",
        "Member",
        "Message",
        "Page",
        "Run",
        "Sent",
    ),
    "retry": ("Timing",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What can be imported."""
    return sorted(__all__)
