"""One conversation of the chat: followed while it is shown, written to at any time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fleetlm_client import FleetLMError
from fleetlm_client.cli.terminal.feed import feed
from fleetlm_client.cli.terminal.transcript import Pending, Transcript

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

PAGE = 50


class Room:
    """A conversation, what is known of it, and what one does in it. `changed` is told of everything new."""

    def __init__(self, fleet: AsyncFleetLM, key: str, me: str, changed: Callable[[Room], None]) -> None:
        self.key = key
        self.dm_key = key if ":" in key else None
        self.transcript = Transcript(me)
        self.status = "connecting"
        self._conversation = fleet.conversation(key)
        self._changed = changed
        self._outgoing: deque[Pending] = deque()
        self._reported = 0
        self._is_loading = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_sending = False

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def follow(self) -> None:
        """Take everything that comes, for ever; what the server refuses is said in the transcript.

        Followed before, it goes on where it was.
        """
        known = self.transcript.last_seq or None
        events = self._conversation.events(
            after=known, epoch=self.transcript.epoch if known else None, limit=PAGE
        )
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    self.status = feed(event, self.transcript, self.status)
                    self._changed(self)
        except FleetLMError as error:
            self.transcript.closed = error.message
            self.status = error.code
            self._changed(self)

    def send(self, text: str) -> None:
        """Show it, and send it after what was sent before."""
        self._put(Pending(str(uuid.uuid4()), text))

    def retry(self) -> None:
        """Send again what was refused, as the same messages."""
        for one in [one for one in self.transcript.pending.values() if one.error]:
            self._put(Pending(one.client_id, one.text))

    def take_back(self) -> str:
        """Forget what was refused, the newest of it; its text."""
        refused = [one for one in self.transcript.pending.values() if one.error]
        if not refused:
            return ""
        del self.transcript.pending[refused[-1].client_id]
        self._changed(self)
        return refused[-1].text

    def _put(self, pending: Pending) -> None:
        self.transcript.pending[pending.client_id] = pending
        self._outgoing.append(pending)
        self._changed(self)
        if not self._is_sending:
            self._is_sending = True
            self._start(self._send_all())

    async def _send_all(self) -> None:
        """One at a time, so that they are stored in the order in which they were written."""
        try:
            while self._outgoing:
                await self._send(self._outgoing.popleft())
        finally:
            self._is_sending = False

    async def _send(self, pending: Pending) -> None:
        try:
            await self._conversation.send(pending.text, client_id=pending.client_id)
        except FleetLMError as error:
            if pending.client_id in self.transcript.pending:
                refused = Pending(pending.client_id, pending.text, error.message)
                self.transcript.pending[pending.client_id] = refused
                self._changed(self)

    def load_older(self) -> None:
        """Fetch the page before what is here, once at a time."""
        if self.transcript.has_older and not self._is_loading:
            self._is_loading = True
            self._start(self._load_older())

    async def _load_older(self) -> None:
        try:
            before = self.transcript.messages[0]["seq"]
            page = await self._conversation.history(before=before, limit=PAGE)
            self.transcript.take_older([one.raw for one in page.messages])
        finally:
            self._is_loading = False
        self._changed(self)

    def look(self) -> None:
        """All that is here has been seen."""
        newest = self.transcript.last_seq
        if newest > max(self.transcript.read, self._reported):
            self._reported = newest
            self._start(self._conversation.read(newest))

    def typing(self, on: bool) -> None:
        """Tell the others."""
        self._start(self._conversation.typing(on))

    def stop(self) -> None:
        """End the answers that are being written."""
        for run in self.transcript.running:
            self._start(self._conversation.cancel(run.run_id))

    def _start(self, doing: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(self._unless_refused(doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unless_refused(self, doing: Coroutine[Any, Any, Any]) -> None:
        """Reading, typing and the like: what is refused or lost of it needs no word."""
        with contextlib.suppress(FleetLMError):
            await doing
