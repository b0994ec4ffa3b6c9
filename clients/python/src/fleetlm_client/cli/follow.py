"""Following a conversation for a program or a plain terminal: losses are told, and mended by the SDK."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from fleetlm_client import ClosedEvent, Joined, MessageEvent, StatusEvent
from fleetlm_client.cli.bodies import PAGE
from fleetlm_client.cli.failures import Failed, tell
from fleetlm_client.cli.output import Output, message_line

if TYPE_CHECKING:
    from fleetlm_client import AsyncConversation, Event


async def followed(
    conversation: AsyncConversation, *, after: int | None = None, last: int = 0
) -> AsyncGenerator[Event, None]:
    """What happens, from the message after `after` on, or with the newest `last` first, for ever.

    Raises `Failed` when the conversation is over, `FleetLMError` when the server refuses, or cannot be reached for the
    first join.
    """
    joined = False
    events = conversation.events(after=after, limit=last if after is None else PAGE)
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, ClosedEvent):
                raise Failed(f"The conversation is over for you: {event.reason}.", code="closed")
            if isinstance(event, Joined):
                joined = True
            elif isinstance(event, StatusEvent) and event.error is not None and joined:
                tell(sys.stderr, event.error.code, event.error.message)
            yield event


async def tail_of(output: Output, conversation: AsyncConversation, after: int | None, last: int) -> None:
    """Print the messages, for ever."""
    async with contextlib.aclosing(followed(conversation, after=after, last=last)) as events:
        async for event in events:
            if isinstance(event, MessageEvent):
                output.show(event.message.raw, message_line)
