"""Talking without a screen: lines become messages, messages of everyone become lines."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from fleetlm_client import FleetLMError, Joined, MessageEvent, RunEvent
from fleetlm_client.cli.answers import Answers
from fleetlm_client.cli.bodies import part
from fleetlm_client.cli.failures import Exit, Failed, tell
from fleetlm_client.cli.follow import followed
from fleetlm_client.cli.output import Output, message_line

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM


JOIN_SECONDS = 15.0
"""A conversation that cannot be joined by then is given up."""


class Talk:
    """One conversation, followed and written to at the same time."""

    def __init__(self, fleet: AsyncFleetLM, key: str, me: str, output: Output) -> None:
        self._fleet = fleet
        self._key = key
        self._me = me
        self._output = output
        self._answers = Answers(me)
        self._joined = asyncio.Event()
        self._progress = asyncio.Event()
        self._shown = 0
        self._last_sent = 0
        self.refused = 0
        """How many lines were not sent."""
        self.answered = False
        """Whether an agent has answered the last line."""

    async def run(
        self, bodies: AsyncIterator[Mapping[str, Any]], *, last: int, settle: bool, linger: float = 0.0
    ) -> None:
        """Send every body; then go on listening until one's own last message was shown, until agents have answered it
        if it shall `settle` (see `Answers.settle`), and for `linger` seconds more.

        Raises `Failed` and `FleetLMError` as `followed`.
        """
        listening = asyncio.create_task(self._listen(last), name="listen")
        talking = asyncio.create_task(self._talk(bodies, settle, linger), name="talk")
        try:
            done, _ = await asyncio.wait({listening, talking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (listening, talking):
                task.cancel()
            await asyncio.gather(listening, talking, return_exceptions=True)

    async def _listen(self, last: int) -> None:
        conversation = self._fleet.conversation(self._key)
        async with contextlib.aclosing(followed(conversation, last=last)) as events:
            async for event in events:
                if isinstance(event, Joined):
                    self._answers.joined(event.members, event.runs)
                    self._joined.set()
                elif isinstance(event, RunEvent):
                    self._answers.run(event.run)
                elif isinstance(event, MessageEvent):
                    self._output.show(event.message.raw, message_line)
                    self._shown = event.message.seq
                    self._answers.shown(event.message.sender_id, event.message.seq)
                    self._progress.set()

    async def _talk(self, bodies: AsyncIterator[Mapping[str, Any]], settle: bool, linger: float) -> None:
        await self._await_join()
        async for body in bodies:
            await self._send(body)
        while self._shown < self._last_sent:
            self._progress.clear()
            await self._progress.wait()
        if self._last_sent and settle:
            self.answered = await self._answers.settle(self._last_sent)
        await asyncio.sleep(linger)

    async def _await_join(self) -> None:
        """Only then are lines taken: what agents say to them is heard from its beginning."""
        try:
            await asyncio.wait_for(self._joined.wait(), JOIN_SECONDS)
        except asyncio.TimeoutError:
            message = f"The server was not reached within {JOIN_SECONDS:g} s."
            raise Failed(message, code="unreachable", exit_code=Exit.UNREACHABLE) from None

    async def _send(self, body: Mapping[str, Any]) -> None:
        message = {"client_id": str(uuid.uuid4()), **body, "sender_id": self._me}
        path = f"conversations/{part(self._key)}/messages"
        try:
            stored = await self._fleet.request(
                "POST", path, body=message, idempotency_key=str(message["client_id"])
            )
            self._last_sent = stored["seq"]
        except FleetLMError as error:
            self.refused += 1
            tell(sys.stderr, error.code, error.message, error.details)


async def only(body: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    """This one."""
    yield body
