"""Group commit: whatever waits when the last commit returns goes out as one transaction.

One appender for each process. Its queue is bounded in items and bytes; what does not fit is refused at once, so that a
caller learns of it while it can still do something else.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import psycopg
from psycopg_pool import PoolTimeout

from conversations.append import Appended, AppendRequest
from conversations.connection import MISPLACED
from conversations.errors import FleetLMError, InvalidRequest, Overloaded, Unavailable
from observability import metrics
from observability.traces import span
from runtime.batch import Committed, MembersCache, commit_batch
from runtime.database import Pool
from runtime.outage import DATABASE_AWAY
from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

TRIES = 5
"""How often a batch is tried again when Postgres chose it as the victim of a deadlock."""

MEMBERS_CACHED = 200_000
"""Members kept in memory, of as many conversations as that comes to: some 20 MB."""

_NOT_STORABLE = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, TypeError, ValueError)
"""A value that Postgres refuses, or that cannot be written as JSON or UTF-8."""

_RETRYABLE = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    *MISPLACED,
)


@dataclass(slots=True)
class _Waiting:
    request: AppendRequest
    size: int
    future: asyncio.Future[Appended]
    since: float


class Appender:
    """Takes appends, commits them in batches and answers each one after its commit."""

    def __init__(
        self,
        pool: Pool,
        *,
        on_commit: Callable[[Committed], None],
        batch_items: int,
        queue_items: int,
        queue_bytes: int,
    ) -> None:
        self._pool = pool
        self._on_commit = on_commit
        self._batch_items = batch_items
        self._queue_items = queue_items
        self._queue_bytes = queue_bytes
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._cache = MembersCache(MEMBERS_CACHED)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to commit."""
        self._stopped = False
        self._task = asyncio.create_task(self._run(), name="appender")

    async def stop(self, patience: float) -> None:
        """Commit what waits, for at most `patience` seconds; what is left, or comes later, is answered with `Unavailable`."""
        if self._task is None:
            return
        await self.settle(patience)
        self._stopped = True
        await end_tasks([self._task])
        if self._queue:
            logger.error("Stopped with %d appends not committed", len(self._queue))
        while self._queue:
            _fail_all(self._take(), Unavailable())

    async def settle(self, patience: float) -> None:
        """Return when nothing waits, or after `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()

    def submit(self, request: AppendRequest) -> asyncio.Future[Appended]:
        """Queue one append; the future is done after its commit.

        Raises `Overloaded` when the queue is full, and `Unavailable` when the appender was stopped.
        """
        if self._stopped:
            raise Unavailable
        size = request.size + 256
        if len(self._queue) >= self._queue_items or self._bytes + size > self._queue_bytes:
            metrics.APPENDS.labels("refused").inc()
            raise Overloaded(retry_after=1)
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(request, size, future, perf_counter()))
        self._bytes += size
        metrics.APPEND_QUEUE_MESSAGES.set(len(self._queue))
        self._idle.clear()
        self._wake.set()
        return future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                if len(self._queue) < self._batch_items // 4:
                    await asyncio.sleep(
                        0
                    )  # what has arrived meanwhile comes along: one more turn of the loop, no more
                batch = self._take()
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    # Stopped in the midst of it: whether it was stored is not known.
                    _fail_all([waiting for waiting in batch if not waiting.future.done()], Unavailable())
                    raise
            self._idle.set()

    def _take(self) -> list[_Waiting]:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_items))]
        self._bytes -= sum(waiting.size for waiting in batch)
        metrics.APPEND_QUEUE_MESSAGES.set(len(self._queue))
        # Nobody waits for these any more: a request that was cut off before its turn stores nothing.
        return [waiting for waiting in batch if not waiting.future.cancelled()]

    async def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            committed = await self._transaction([waiting.request for waiting in batch])
        except _NOT_STORABLE as error:
            await self._one_by_one(batch, error)
        except DATABASE_AWAY as error:
            logger.warning("Appends refused, Postgres does not answer: %s", error)
            _fail_all(batch, Unavailable())
            while isinstance(error, PoolTimeout) and self._queue:
                _fail_all(self._take(), Unavailable())  # they have waited as long, for the same connection
        except Exception as error:  # whatever it is, every caller gets an answer and the appender lives
            logger.exception("An append batch failed")
            _fail_all(batch, error)
        else:
            # Not now: first the next batch sets out, so that Postgres works while this process tells of this one.
            asyncio.get_running_loop().call_soon(self._finish, batch, committed)

    def _finish(self, batch: list[_Waiting], committed: Committed) -> None:
        try:
            self._on_commit(committed)
        except Exception:  # it is stored: whoever sent it is told so, and others find it in Postgres
            logger.exception("A committed batch could not be published")
        _answer(batch, committed)

    async def _one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        """A value that cannot be stored fails alone: the others of its batch are tried again without it."""
        if len(batch) > 1:
            for waiting in batch:
                await self._commit([waiting])
            return
        logger.error("An append cannot be stored: %s", error)
        _fail_all(batch, InvalidRequest("This message cannot be stored."))

    async def _transaction(self, requests: list[AppendRequest]) -> Committed:
        for left in reversed(range(TRIES)):
            try:
                async with self._pool.connection() as connection:
                    with span("append batch", messages=len(requests)):
                        return await commit_batch(connection, requests, self._cache)
            except _RETRYABLE as error:
                if not left:
                    raise Unavailable(retry_after=1) from error
        raise AssertionError("unreachable")


def _answer(batch: list[_Waiting], committed: Committed) -> None:
    now = perf_counter()
    metrics.APPEND_BATCH_MESSAGES.observe(len(batch))
    stored = 0
    for waiting, outcome in zip(batch, committed.outcomes, strict=True):
        if isinstance(outcome, FleetLMError):
            _fail(waiting, outcome, "refused")
            continue
        metrics.APPEND_SECONDS.observe(now - waiting.since)
        stored += not outcome.deduplicated
        if not waiting.future.done():
            waiting.future.set_result(outcome)
    metrics.APPENDS.labels("stored").inc(stored)
    metrics.APPENDS.labels("deduplicated").inc(
        sum(isinstance(o, Appended) for o in committed.outcomes) - stored
    )


def _fail_all(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        _fail(waiting, error)


def _fail(waiting: _Waiting, error: Exception, outcome: str = "failed") -> None:
    metrics.APPENDS.labels(outcome).inc()
    if not waiting.future.done():
        waiting.future.set_exception(error)
