"""What agents say becomes messages: each once, however often a call is made."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from agents.calls import ClaimedStream
from agents.errors import AnswerInvalid
from agents.rules import Draft
from conversations.append import Appended, AppendRequest
from conversations.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    FleetLMError,
    NotAMember,
    Overloaded,
    Unavailable,
)

Append = Callable[[AppendRequest], Awaitable[Appended]]

APPEND_PAUSE: Final = 0.5
"""Seconds between tries to append an answer while that is not possible for now."""

SYSTEM: Final = "system"
"""Who says what the server has to say."""

_UNWANTED: Final = (ConversationClosed, ConversationNotFound, NotAMember)
"""The conversation takes no answer of this agent any more; calling it again would change nothing."""


class Answers:
    """Appends the messages of agents, and what people are told of agents that do not answer."""

    def __init__(self, append: Append) -> None:
        self._append = append

    async def store(self, stream: ClaimedStream, drafts: Sequence[Draft]) -> int | None:
        """Append each message once: its `client_id` comes from the call's id. Returns the last one's seq, if any.

        Raises `AnswerInvalid` for what cannot be stored.
        """
        seq: int | None = None
        for number, draft in enumerate(drafts):
            request = AppendRequest(
                key=stream.key,
                sender_id=stream.agent_id or "",
                text=draft.text,
                kind=draft.kind,
                content=draft.content or {},
                metadata=draft.metadata or {},
                client_id=f"{stream.call_id}:{number}",
            )
            try:
                seq = (await self._patiently(request)).message.seq
            except ClientIdReused as error:
                # An earlier attempt got this far, and the agent now answers otherwise: the first answer
                # stands.
                seq = error.details.get("seq", seq)
            except _UNWANTED:
                return seq
            except FleetLMError as error:
                raise AnswerInvalid(str(error), status=200) from error
        return seq

    async def tell(
        self, stream: ClaimedStream, text: str, content: Mapping[str, Any], client_id: str
    ) -> None:
        """Leave a system message in the conversation, once for each `client_id`."""
        request = AppendRequest(
            key=stream.key,
            sender_id=SYSTEM,
            text=text,
            kind="system",
            content=content,
            client_id=client_id,
            privileged=True,
        )
        try:
            await self._patiently(request)
        except (ClientIdReused, *_UNWANTED):
            return

    async def _patiently(self, request: AppendRequest) -> Appended:
        # The answer is too good to be thrown away: until the lease is lost, which cancels this, it waits.
        while True:
            try:
                return await self._append(request)
            except (Overloaded, Unavailable):
                await asyncio.sleep(APPEND_PAUSE)
