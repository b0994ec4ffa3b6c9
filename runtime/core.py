"""What runs in one process, put together: made, started and stopped in one place."""

import asyncio
import gc
import secrets
from weakref import WeakKeyDictionary

from django.conf import settings

from runtime.appender import Appender
from runtime.database import make_pool
from runtime.gateway import Gateway
from runtime.inbox_server import InboxServer
from runtime.listener import Listener
from runtime.partials import Partials
from runtime.publisher import Publisher
from runtime.search import Searches
from runtime.sessions import Sessions

GC_THRESHOLD = 20_000
"""New objects after which the collector looks for cycles among them."""


class Runtime:
    """The moving parts of one event loop."""

    def __init__(self) -> None:
        config = settings.FLEETLM
        self.process = secrets.token_hex(6)
        self.pool = make_pool()
        self.publisher = Publisher(on_recovered=self._recovered)
        self.partials = Partials()
        self.listener = Listener(
            {
                "log": self._to_sessions,
                "version": self._to_sessions,
                "event": self._to_sessions,
                "typing": self._to_sessions,
                "presence": self._to_sessions,
                "run": lambda message: self.sessions.receive_run(message),
                "process": lambda message: self.sessions.receive_process(message),
                "inbox": lambda message: self.inboxes.receive(message),
                "inbox_large": lambda message: self.inboxes.receive(message),
            }
        )
        self.sessions = Sessions(self.pool, self.publisher, self.listener, self.process)
        self.inboxes = InboxServer(self.pool, self.publisher, self.listener, self.process)
        self.appender = Appender(
            self.pool,
            on_commit=lambda batch: self.gateway.committed(batch),
            batch_items=config.append_batch_items,
            queue_items=config.append_queue_items,
            queue_bytes=config.append_queue_bytes,
        )
        self.gateway = Gateway(self.pool, self.appender, self.sessions, self.inboxes, self.publisher)
        self.searches = Searches(self.pool, config.search_messages)
        self._started: asyncio.Task[None] | None = None
        self.started = False
        self.draining = asyncio.Event()

    async def start(self) -> None:
        """Start everything, once; later calls wait for the first. Postgres and Valkey may still be away."""
        if self._started is None:
            self._started = asyncio.create_task(self._start())
        await asyncio.shield(self._started)

    async def _start(self) -> None:
        await self.pool.open(wait=False)
        self.publisher.start()
        self.listener.start()
        self.appender.start()
        self.sessions.start()
        self.inboxes.start()
        self.started = True
        if not gc.get_freeze_count():
            # What is here now stays: the collector need not look at Django's many objects again and again (a tenth of the
            # time of an append).
            gc.collect()
            gc.freeze()
            # What comes and goes with a request or a call is freed by its reference counts. Looking for cycles after every
            # 700 new objects, as Python does by itself, finds next to nothing.
            gc.set_threshold(GC_THRESHOLD, 5, 5)

    async def stop(self) -> None:
        """Commit and publish what waits, then stop everything."""
        if self._started is None:
            return
        await self.appender.stop(settings.FLEETLM.drain_seconds / 4)
        await self.inboxes.stop()
        await self.sessions.stop()
        await self.publisher.stop()
        await self.listener.stop()
        await self.pool.close()
        self._started = None
        self.started = False
        _runtimes.pop(asyncio.get_running_loop(), None)

    def _to_sessions(self, message: dict[str, object]) -> None:
        self.sessions.receive(message)

    def _recovered(self) -> None:
        self.sessions.announce_again()
        self.inboxes.refresh_all()


_runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()


def current() -> Runtime:
    """The runtime of the running loop; made at the first call. Servers without lifespan events start it by first use."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        runtime = _runtimes[loop] = Runtime()
    return runtime
