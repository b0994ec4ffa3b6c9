"""Somebody who follows a conversation with the SDK, as a test looks at it."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from fleetlm_client import (
    AsyncConversation,
    DeltaEvent,
    Event,
    FleetLMError,
    Joined,
    Message,
    MessageEvent,
    RunEvent,
    Timing,
)

E = TypeVar("E")

PATIENCE = 15.0
QUICK = Timing(
    heartbeat=0.3,
    reply=0.8,
    answer=0.8,
    connect=0.8,
    silence=1.2,
    backoff=0.03,
    backoff_max=0.2,
    socket_retry=0.4,
)
"""The SDK's intervals, for tests that await their ends."""


class Watcher:
    """Follows a conversation while this context lasts, and keeps all that it is told."""

    def __init__(self, conversation: AsyncConversation, **place: Any) -> None:
        self.told: list[Event] = []
        self.failure: FleetLMError | None = None
        self.ended = False
        self._conversation = conversation
        self._place = place
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def messages(self) -> list[Message]:
        """Every message, in the order in which it came."""
        return [event.message for event in self.told if isinstance(event, MessageEvent)]

    @property
    def seqs(self) -> list[int]:
        """Their seqs."""
        return [message.seq for message in self.messages]

    @property
    def texts(self) -> list[str]:
        """Their texts."""
        return [message.text for message in self.messages]

    def of(self, kind: type[E]) -> list[E]:
        """All events of this kind."""
        return [event for event in self.told if isinstance(event, kind)]

    def streamed(self) -> str:
        """What a run said, put together by one who adds up deltas."""
        text = ""
        for event in self.told:
            if isinstance(event, RunEvent) and event.run.live:
                text = event.run.text
            elif isinstance(event, DeltaEvent):
                text += event.text
        return text

    async def until(self, holds: Callable[[], object], within: float = PATIENCE) -> None:
        """Wait until this holds; it is looked at after every event."""
        try:
            async with asyncio.timeout(within):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            recent = "\n".join(str(event)[:200] for event in self.told[-10:])
            raise AssertionError(f"Not within {within:g} s. {self.failure!r}. Last:\n{recent}") from None

    async def joined(self, times: int = 1) -> None:
        """Wait until it is joined."""
        await self.until(lambda: len(self.of(Joined)) >= times)

    async def seq(self, seq: int) -> None:
        """Wait for the message with this seq."""
        await self.until(lambda: seq in self.seqs)

    async def _watch(self) -> None:
        try:
            async with contextlib.aclosing(self._conversation.events(**self._place)) as events:
                async for event in events:
                    self.told.append(event)
                    self._news.set()
        except FleetLMError as error:
            self.failure = error
        self.ended = True
        self._news.set()
