"""Gives delivery streams back in batches: whatever waits when the last commit returns goes out as one
statement."""

import asyncio
import logging
from time import monotonic

import psycopg
from django.conf import settings

from agents import store
from agents.breaker import NOTE_EVERY_SECONDS, Breaker, note_outcomes
from agents.calls import Finish
from conversations.connection import Connection
from observability import metrics
from runtime.database import Pool
from runtime.outage import DATABASE_AWAY, Outage

logger = logging.getLogger(__name__)

BATCH = 500


class Acknowledger:
    """Writes the ends of calls. While Postgres is away they wait."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[Finish, asyncio.Future[float | None]]] = []
        self._wake = asyncio.Event()
        self._outage = Outage("the outcome of agent calls")
        config = settings.FLEETLM
        self._breaker = Breaker(config.breaker_failures, config.breaker_pause)
        # When this process last noted a success of an endpoint that has not failed here since.
        self._noted_well: dict[int, float] = {}

    async def finish(self, finish: Finish) -> float | None:
        """Give a stream back; returns after the commit with the seconds until it is due again.

        None: there is nothing to do for now, or the lease was lost and nothing was changed. Raises
        `psycopg.Error` for what is no outage.
        """
        future: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((finish, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                # Those whose delivery was cancelled meanwhile are another dispatcher's business.
                self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
                await self._write(self._waiting[:BATCH])

    async def _write(self, batch: list[tuple[Finish, asyncio.Future[float | None]]]) -> None:
        if not batch:
            return
        try:
            async with self._pool.connection() as connection:
                due = await self._finish(connection, [finish for finish, _ in batch])
        except DATABASE_AWAY as error:
            await asyncio.sleep(self._outage.pause(error))
            return
        except psycopg.Error as error:
            self._answer(batch, error)
        else:
            self._outage.over()
            self._answer(batch, due)

    async def _finish(self, connection: Connection, finishes: list[Finish]) -> dict[int, float | None]:
        """Give the streams back, then count what became of their calls.

        In two transactions: whoever changes an endpoint locks it before its streams, and so must the breaker.
        """
        due = await store.finish(connection, finishes)
        if not self._news(finishes):
            return due
        async with connection.transaction():
            opened, closed = await note_outcomes(connection, finishes, due.keys(), self._breaker)
        for change, endpoint_ids in (("opened", opened), ("closed", closed)):
            if endpoint_ids:
                metrics.BREAKERS.labels(change).inc(len(endpoint_ids))
                logger.warning("Breaker %s of endpoints %s", change, sorted(endpoint_ids))
        return due

    def _news(self, finishes: list[Finish]) -> bool:
        """Whether there is anything to note: a failure, or an endpoint that was not lately noted as well."""
        now = monotonic()
        news = False
        for finish in finishes:
            if finish.attempt is None or finish.attempt.ended_early:
                continue
            endpoint_id = finish.stream.endpoint_id
            if finish.attempt.failed:
                self._noted_well.pop(endpoint_id, None)
                news = True
            elif now - self._noted_well.get(endpoint_id, -NOTE_EVERY_SECONDS) >= NOTE_EVERY_SECONDS:
                self._noted_well[endpoint_id] = now
                news = True
        return news

    def _answer(
        self,
        batch: list[tuple[Finish, asyncio.Future[float | None]]],
        outcome: dict[int, float | None] | psycopg.Error,
    ) -> None:
        del self._waiting[: len(batch)]
        for finish, future in batch:
            if future.done():
                continue
            if isinstance(outcome, psycopg.Error):
                future.set_exception(outcome)
            else:
                future.set_result(outcome.get(finish.stream.id))
