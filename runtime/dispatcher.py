"""Calls agents and subscriptions: claims due delivery streams, lets each be delivered, gives them back.

See `docs/ARCHITECTURE.md`. It wakes up by hints of the channel layer, by what it knows to be due, and anyway every
`dispatch_poll` seconds: without Valkey it is late, never idle.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from django.conf import settings

from agents import breaker, store
from agents.calls import ClaimedStream
from conversations.connection import Connection
from observability import metrics
from runtime import briefs
from runtime.acknowledger import Acknowledger
from runtime.answers import Answers, Append
from runtime.briefs import Brief
from runtime.calling import Stop, make_door
from runtime.database import Pool
from runtime.delivery import Courier
from runtime.delivery_gauges import measure_for_ever
from runtime.notifications import Notifier
from runtime.outage import DATABASE_AWAY, Outage
from runtime.run_relay import RunRelay
from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

RELEASE_SECONDS = 2.0
"""How long a stopping dispatcher tries to give back what it could not finish."""


@dataclass(slots=True, eq=False)
class _InFlight:
    stream: ClaimedStream
    renewed_at: float
    stop: Stop = field(default_factory=Stop)
    task: "asyncio.Task[None] | None" = None
    calling: bool = True
    """Until the call is over; its end is then still to be written."""

    def give_up(self) -> None:
        """The lease is lost: whatever the call comes to is another dispatcher's business."""
        if self.task is not None:
            self.task.cancel()


class Dispatcher:
    """One dispatcher. Any number of them may run, in any number of processes."""

    def __init__(self, pool: Pool, append: Append, relay: RunRelay) -> None:
        self._pool = pool
        self._config = settings.FLEETLM
        self._door = make_door()
        self._relay = relay
        self._courier = Courier(self._door, Answers(append), relay)
        self._notifier = Notifier(self._door)
        self._acknowledger = Acknowledger(pool)
        self._in_flight: dict[int, _InFlight] = {}
        self._per_endpoint: Counter[int] = Counter()  # calls alone, not ends that wait to be written
        self._wake = asyncio.Event()
        self._stopping = False
        self._backlog = False
        self._freed = 0
        self._outage = Outage("calling agents")

    def wake(self) -> None:
        """Look for due streams now."""
        self._wake.set()

    def cancel(self, run_id: str) -> None:
        """Someone wants this run to end; it does if it is made here."""
        for entry in self._in_flight.values():
            if str(entry.stream.run_id) == run_id:
                entry.stop("cancelled")

    async def run(self, stop: asyncio.Event) -> None:
        """Call agents until `stop` is set, then finish what is under way for at most `drain_seconds`."""
        async with self._door, asyncio.TaskGroup() as group:
            work = (
                self._acknowledger.run(),
                self._relay.run(),
                self._renew_leases(),
                self._look_for_ends(),
                measure_for_ever(self._pool),
                self._stop_with(stop),
            )
            background = [group.create_task(one) for one in work]
            await self._claim_until_stopped()
            await self._drain()
            await end_tasks(background)

    async def _stop_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._wake.set()

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause = await self._claim()
                self._outage.over()
            except DATABASE_AWAY as error:
                pause = self._outage.pause(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _claim(self) -> float:
        """Take what is due and start its calls; returns the seconds after which to look again."""
        free = self._free_places()
        if free <= 0:
            self._backlog, self._freed = True, 0
            return self._config.dispatch_poll
        async with self._pool.connection() as connection:
            if any(entry.stream.interruptible for entry in self._in_flight.values()):
                await self._end_unwanted(connection)
            streams, set_aside = await store.claim_due_streams(
                connection,
                limit=free,
                held=self._per_endpoint,
                lease_seconds=self._config.dispatch_lease,
                give_up_after=self._config.agent_retry_for,
                probe_pause_max=self._config.breaker_pause_max,
            )
            next_due = None if len(streams) == free else await store.seconds_to_next_due(connection)
            if streams:
                await self._start(connection, streams)
        self._backlog = len(streams) == free or (next_due is not None and next_due <= 0)
        self._freed = 0
        if set_aside or (streams and next_due is not None and next_due <= 0):
            return 0  # those that came first have had their share: look at the others
        if next_due is None or next_due <= 0:
            return self._config.dispatch_poll
        return min(next_due + 0.001, self._config.dispatch_poll)

    def _free_places(self) -> int:
        """For how many more calls there is room: so many are not under way, nor wait for their end to be written."""
        places = self._config.dispatch_in_flight
        return min(places - self._per_endpoint.total(), 2 * places - len(self._in_flight))

    async def _start(self, connection: Connection, streams: list[ClaimedStream]) -> None:
        try:
            found = await briefs.load(connection, streams)
        except BaseException:
            # They are leased but nobody calls them: back at once, if Postgres can still be told.
            await self._release(streams)
            raise
        now = monotonic()
        for stream in streams:
            if stream.waiting_seconds is not None and stream.attempt == 1:
                metrics.DELIVERY_LAG_SECONDS.observe(stream.waiting_seconds)
            if (lost := self._in_flight.get(stream.id)) is not None:
                lost.give_up()  # its lease has run out: one stream, one call
            entry = _InFlight(stream, now)
            call = self._deliver(entry, found[stream.id])
            entry.task = asyncio.create_task(call, name=f"delivery-{stream.id}")
            self._in_flight[stream.id] = entry
            self._per_endpoint[stream.endpoint_id] += 1
            entry.task.add_done_callback(partial(self._ended, entry))
        metrics.DELIVERIES_IN_FLIGHT.set(len(self._in_flight))

    async def _deliver(self, entry: _InFlight, brief: Brief) -> None:
        courier = self._notifier if entry.stream.event else self._courier
        try:
            finish = await courier.deliver(entry.stream, brief, entry.stop)
        finally:
            self._call_over(entry)
        due_in = await self._acknowledger.finish(finish)
        if due_in is not None and due_in <= self._config.dispatch_poll:
            self._wake.set()

    def _call_over(self, entry: _InFlight) -> None:
        """Its place is another's, even while its end is still being written."""
        if not entry.calling:
            return
        entry.calling = False
        endpoint_id = entry.stream.endpoint_id
        self._per_endpoint[endpoint_id] -= 1
        if not self._per_endpoint[endpoint_id]:
            del self._per_endpoint[endpoint_id]
        # A claim for every place that becomes free would cost more than it brings: gather some.
        self._freed += 1
        enough = self._freed >= self._config.dispatch_in_flight // 4 or not self._per_endpoint
        if self._backlog and (enough or entry.stream.max_in_flight is not None):
            self._wake.set()

    def _ended(self, entry: _InFlight, task: asyncio.Task[None]) -> None:
        self._call_over(entry)  # its task may have been cancelled before it began
        if self._in_flight.get(entry.stream.id) is entry:
            del self._in_flight[entry.stream.id]
        metrics.DELIVERIES_IN_FLIGHT.set(len(self._in_flight))
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out and the call is made again.
            logger.error("A delivery of stream %d broke", entry.stream.id, exc_info=error)
        places, held = self._config.dispatch_in_flight, len(self._in_flight)
        # Ends that were written make room, too, where they had filled it.
        if self._backlog and (not held or held == 2 * places - places // 4):
            self._wake.set()

    async def _renew_leases(self) -> None:
        """Hold what takes long. A call whose lease is lost is given up: it is another dispatcher's now."""
        interval = self._config.dispatch_lease / 3
        outage = Outage("the renewal of leases")
        while True:
            await asyncio.sleep(interval)
            old = [e for e in self._in_flight.values() if monotonic() - e.renewed_at >= interval]
            if not old:
                continue
            now = monotonic()
            try:
                async with self._pool.connection() as connection:
                    held = await store.renew_leases(
                        connection, [e.stream for e in old], self._config.dispatch_lease
                    )
            except DATABASE_AWAY as error:
                outage.pause(error)
                continue
            outage.over()
            for entry in old:
                entry.renewed_at = now
                if entry.stream.id not in held:
                    entry.give_up()

    async def _look_for_ends(self) -> None:
        """End calls that someone has cancelled, or that news interrupts; and bring probes of open breakers."""
        outage = Outage("the end of agent calls")
        while True:
            await asyncio.sleep(self._config.dispatch_poll)
            try:
                async with self._pool.connection() as connection:
                    await self._end_unwanted(connection)
                    if await breaker.bring_probes(connection):
                        self._wake.set()
            except DATABASE_AWAY as error:
                outage.pause(error)
            else:
                outage.over()

    async def _end_unwanted(self, connection: Connection) -> None:
        entries = [entry for entry in self._in_flight.values() if not entry.stream.event]
        if not entries:
            return
        unwanted = await store.wanted_to_end(connection, [entry.stream for entry in entries])
        for entry in entries:
            cancelled, news = unwanted.get(entry.stream.id, (False, False))
            if cancelled:
                entry.stop("cancelled")
            elif news and entry.stream.interruptible:
                entry.stop("interrupted")

    async def _drain(self) -> None:
        tasks = {entry.task for entry in self._in_flight.values() if entry.task is not None}
        if not tasks:
            return
        logger.info("Stopping: %d agent calls may finish", len(tasks))
        _, late = await asyncio.wait(tasks, timeout=self._config.drain_seconds)
        unfinished = [entry.stream for entry in self._in_flight.values() if entry.task in late]
        await end_tasks(late)
        if unfinished:
            logger.warning("Stopping: %d agent calls are left to another dispatcher", len(unfinished))
            await self._release(unfinished)

    async def _release(self, streams: list[ClaimedStream]) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS), self._pool.connection() as connection:
                await store.release(connection, streams)
        except (TimeoutError, *DATABASE_AWAY) as error:
            logger.warning("%d leases could not be given back and will run out: %s", len(streams), error)
