"""One run of the handler for one call, and all who wait for its answer."""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from concurrent.futures import Executor
from typing import Any

from .answers import STREAM_TYPE, Answer, Gone, RetryLater, failed, whole
from .call import Call
from .chunks import STILL_HERE, Stream
from .handlers import Handler, blocks, close, invoke
from .memory import Store

FIRST_PIECE_SECONDS = 3.0
"""So long a stream may wait for its first piece before it begins all the same. Until then an error is a status (410, 503)."""
QUIET_SECONDS = 10.0
"""After so long without a piece a stream says that it is still here; FleetLM cuts off one that is silent for a minute."""

log = logging.getLogger("fleetlm_client.agent")


class Run:
    """Runs the handler once, for everyone who asks with the same `webhook-id` meanwhile.

    When the last of them hangs up, it is stopped. What was answered to the end is remembered before it is said.
    """

    def __init__(self, handler: Handler, call: Call, store: Store, threads: Executor) -> None:
        self.is_stopping = False
        self._handler = handler
        self._call = call
        self._store = store
        self._threads = threads
        self._is_stoppable = True
        self._waiting = 0  # who waits for the answer
        self._answer: Answer | None = None  # whole
        self._stream: Stream | None = None
        self._is_committed = False  # a stream has begun, so that an error can only be said in it
        self._events: list[bytes] = []
        self._taken = 0  # events that someone has got
        self._is_over = False
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._work())

    # Those who wait.

    async def stopped(self) -> None:
        """Wait until its work has ended."""
        await asyncio.wait([self.task])

    async def __aenter__(self) -> "Run":
        self._waiting += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._waiting -= 1
        if self._waiting or self.task.done() or not self._is_stoppable:
            return
        self.is_stopping = True
        self.task.cancel()
        await self.stopped()

    async def head(self) -> Answer | None:
        """The whole answer; None if it is a stream, whose `events` follow."""
        while self._answer is None and not self._is_committed:
            if not await self._hear(FIRST_PIECE_SECONDS) and self._stream is not None:
                self._is_committed = True
        return self._answer

    async def events(self) -> AsyncIterator[bytes]:
        """All that the stream says, from its beginning; now and then that it is still here."""
        place = 0
        while place < len(self._events) or not self._is_over:
            if place < len(self._events):
                yield self._events[place]
                place += 1
                self._taken = max(self._taken, place)
                self._tell()
            elif not await self._hear(QUIET_SECONDS):
                yield STILL_HERE

    # The work.

    async def _work(self) -> None:
        try:
            self._answer = await self._remembered()
            if self._answer is None:
                await self._handle()
        except asyncio.CancelledError as error:
            if not self._waiting:
                log.info("Call %s: the caller has hung up.", self._call.id)
                raise
            self._fail(error)  # the handler's own doing, or the end of the loop
        except Exception as error:  # noqa: BLE001 (whatever a handler raises fails its call, and no other)
            self._fail(error)
        finally:
            self._is_over = True
            self._tell()

    async def _handle(self) -> None:
        self._is_stoppable = not blocks(self._handler)
        value = await invoke(self._threads, self._handler, self._call)
        self._is_stoppable = True
        if isinstance(value, AsyncIterable):
            await self._say_all(value)
        else:
            answer = whole(value)
            await self._remember(answer)
            self._answer = answer

    async def _say_all(self, pieces: AsyncIterable[Any]) -> None:
        self._stream = Stream()
        try:
            async for piece in pieces:
                await self._say(self._stream.feed(piece))
        finally:
            await close(pieces)
        end = self._stream.end()
        if not self._stream.failed:
            await self._remember(Answer(200, STREAM_TYPE, b"".join([*self._events, end])))
        self._is_committed = True
        self._events.append(end)

    async def _say(self, event: bytes) -> None:
        """Give out an event and wait until one has got it: a handler does not run ahead of those who listen."""
        if not event:
            return
        self._is_committed = True
        self._events.append(event)
        self._tell()
        while self._taken < len(self._events):
            if not self._waiting:
                raise asyncio.CancelledError
            await self._hear()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, (Gone, RetryLater)):
            log.warning("Call %s: %r", self._call.id, error)
        else:
            log.error("Call %s: the handler has failed.", self._call.id, exc_info=error)
        if self._is_committed and self._stream is not None:
            self._events.append(self._stream.fail("The agent has failed."))
        else:
            self._answer = failed(error)

    async def _remembered(self) -> Answer | None:
        if not self._call.id:
            return None
        answer: Answer | None = await invoke(self._threads, self._store.get, self._call.id)
        return answer

    async def _remember(self, answer: Answer) -> None:
        if not self._call.id:
            return
        self._is_stoppable = False  # the work is done: to forget it now would have it done again
        try:
            await invoke(self._threads, self._store.put, self._call.id, answer)
        except Exception:
            log.exception("Call %s: its answer could not be remembered.", self._call.id)

    # Word of what has changed.

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _hear(self, seconds: float | None = None) -> bool:
        """Wait until something has changed; False if nothing has for so long."""
        waiting = asyncio.ensure_future(self._news.wait())
        try:
            done, _ = await asyncio.wait([waiting], timeout=seconds)
        finally:
            waiting.cancel()
        return bool(done)
