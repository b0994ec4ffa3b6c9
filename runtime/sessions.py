"""The live conversations of a process, and what keeps them in step with the other processes and with Postgres."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from django.conf import settings

from conversations import queries
from observability import metrics
from runtime.ahead import Room
from runtime.channel_layer import group_of
from runtime.database import Pool
from runtime.listener import Listener
from runtime.outage import DATABASE_AWAY
from runtime.presence import Refs
from runtime.publisher import Publisher
from runtime.session import Session
from runtime.tail import TailMemory
from runtime.tasks import end_tasks

T = TypeVar("T")

logger = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
"""A conversation that nobody follows any more stays warm for this long."""

IDLE_LIMIT = 1_000
"""So many stay warm; beyond it those that were left first go at once."""

AT_ONCE = 4
"""Conversations that are brought on at a time: the others who want a connection of the pool are not kept waiting."""

HEARTBEAT_SECONDS = 3.0
SILENCE_SECONDS = 10.0
"""A process that was not heard for this long is taken for dead: its presences end."""

ANNOUNCE_EVERY = 10
"""Every so many heartbeats a process tells a conversation's presences again, in case a difference was lost."""

PROCESSES = "processes"


class Sessions:
    """The registry of live sessions: opened by those who follow, retired when nobody does."""

    def __init__(self, pool: Pool, publisher: Publisher, listener: Listener, process: str) -> None:
        self._pool = pool
        self._publisher = publisher
        self._listener = listener
        self._process = process
        self._sessions: dict[int, Session] = {}
        self._idle_since: dict[int, float] = {}
        self._processes: dict[str, float] = {}
        self._announce_next = False
        self._tails = TailMemory(settings.FLEETLM.tails_bytes)
        self._room = Room()
        self._new: list[Session] = []
        self._have_new = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to compare with Postgres and to tell others that this process lives."""
        self._listener.follow(PROCESSES)
        self._tasks = [
            asyncio.create_task(self._repair_for_ever(), name="session-repair"),
            asyncio.create_task(self._heartbeat_for_ever(), name="session-heartbeat"),
            asyncio.create_task(self._bring_on_for_ever(), name="session-new"),
        ]

    async def stop(self) -> None:
        """Stop, and tell the others that the presences of this process are over."""
        await end_tasks(self._tasks)
        self._publisher.send(PROCESSES, {"type": "process", "process": self._process, "alive": False})
        for session in self._sessions.values():
            session.stop()
        metrics.SESSIONS_LIVE.dec(len(self._sessions))
        self._sessions.clear()

    def get(self, conversation_id: int) -> Session | None:
        """The live session of a conversation, if there is one."""
        return self._sessions.get(conversation_id)

    def open(self, view: queries.View) -> Session:
        """The session of a conversation just read from Postgres; a new one follows its group from now on."""
        session = self._sessions.get(view.id)
        if session is None:
            announce = partial(self._announce_presence, view.id)
            session = Session(self._pool, view, announce=announce, tails=self._tails, room=self._room)
            self._sessions[view.id] = session
            metrics.SESSIONS_LIVE.inc()
            self._listener.follow(group_of(view.id), partial(self._followed, session))
        self._idle_since.pop(view.id, None)
        return session

    async def _followed(self, session: Session) -> None:
        self._new.append(session)
        self._have_new.set()

    async def _bring_on_for_ever(self) -> None:
        while True:
            await self._have_new.wait()
            self._have_new.clear()
            try:
                await self._bring_on()
            except Exception:
                logger.exception("New conversations could not be compared with Postgres")

    async def _bring_on(self) -> None:
        """What was published between the reading of their views and the moment they were followed was not heard here."""
        new = [one for one in self._new if self._sessions.get(one.conversation_id) is one]
        self._new.clear()
        try:
            await self.repair([session.conversation_id for session in new])
            await _some_at_once(new, lambda session: session.runs.learn())
        except DATABASE_AWAY as error:
            logger.warning("%d new conversations wait for Postgres: %s", len(new), error)
        for session in new:
            self._announce_presence(session.conversation_id, "ask", {})
            session.presence.announce_all()

    # Between processes.

    def publish(self, conversation_id: int, version: int, entries: list[tuple[int, bytes]]) -> None:
        """Hand newly committed messages to the session of this process and to those of the others."""
        session = self._sessions.get(conversation_id)
        if session is not None:
            session.offer(version, entries)
        self._send(conversation_id, {"type": "log", "version": version, "entries": entries})

    def publish_version(self, conversation_id: int, version: int) -> None:
        """Members or state have changed."""
        session = self._sessions.get(conversation_id)
        if session is not None:
            session.note_version(version)
        self._send(conversation_id, {"type": "version", "version": version})

    def publish_event(self, conversation_id: int, event: str, payload: dict[str, Any]) -> None:
        """Pass on an event that is not of the log, here and elsewhere."""
        session = self._sessions.get(conversation_id)
        if session is not None:
            session.event(event, payload)
        self._send(conversation_id, {"type": "event", "event": event, "payload": payload})

    def publish_typing(self, conversation_id: int, participant_id: str, on: bool) -> None:
        """Someone types, or has stopped; every process lets it end by itself."""
        session = self._sessions.get(conversation_id)
        if session is not None:
            session.typing.set(participant_id, on)
        self._send(conversation_id, {"type": "typing", "participant_id": participant_id, "on": on})

    def _announce_presence(self, conversation_id: int, op: str, refs: Refs) -> None:
        self._send(conversation_id, {"type": "presence", "op": op, "refs": refs})

    def _send(self, conversation_id: int, message: dict[str, Any]) -> None:
        message["conversation"] = conversation_id
        message["process"] = self._process
        self._publisher.send(group_of(conversation_id), message)

    def announce_again(self) -> None:
        """Differences may have been lost: tell of every presence at the next heartbeat, when the others listen again."""
        self._announce_next = True

    def receive(self, message: dict[str, Any]) -> None:
        """Take a frame of another process; one's own have been handled before they were sent."""
        if message["process"] == self._process:
            return
        session = self._sessions.get(message["conversation"])
        if session is None:
            return
        match message["type"]:
            case "log":
                session.offer(message["version"], message["entries"])
            case "version":
                session.note_version(message["version"])
            case "event":
                session.event(message["event"], message["payload"])
            case "typing":
                session.typing.set(message["participant_id"], message["on"])
            case "presence":
                self._processes.setdefault(message["process"], asyncio.get_running_loop().time())
                session.presence.heard(message["process"], message["op"], _refs(message["refs"]))

    def receive_run(self, message: dict[str, Any]) -> None:
        """Take a frame of a dispatcher's relay; it may be this process's own."""
        session = self._sessions.get(message["conversation"])
        if session is not None:
            session.runs.heard(message)

    def receive_process(self, message: dict[str, Any]) -> None:
        """Take another process's heartbeat."""
        if message["process"] == self._process:
            return
        if message["alive"]:
            self._processes[message["process"]] = asyncio.get_running_loop().time()
        else:
            self._forget(message["process"])

    def _forget(self, process: str) -> None:
        self._processes.pop(process, None)
        for session in self._sessions.values():
            session.presence.forget(process)

    # In the background.

    async def _heartbeat_for_ever(self) -> None:
        beats = 0
        while True:
            self._publisher.send(PROCESSES, {"type": "process", "process": self._process, "alive": True})
            beats += 1
            self._announce_some(beats)
            silent = asyncio.get_running_loop().time() - SILENCE_SECONDS
            for process in [process for process, heard in self._processes.items() if heard < silent]:
                self._forget(process)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _announce_some(self, beats: int) -> None:
        for conversation_id, session in self._sessions.items():
            # Each at a beat of its own: thousands at once would push messages out of the publisher's queue.
            if self._announce_next or conversation_id % ANNOUNCE_EVERY == beats % ANNOUNCE_EVERY:
                session.presence.announce_all()
        self._announce_next = False

    async def _repair_for_ever(self) -> None:
        while True:
            await asyncio.sleep(settings.FLEETLM.repair_interval)
            self._retire_idle()
            try:
                await self.repair(list(self._sessions))
            except DATABASE_AWAY as error:
                logger.warning("Live conversations wait for Postgres: %s", error)
            except Exception:
                logger.exception("Live conversations could not be compared with Postgres")

    async def repair(self, conversation_ids: Iterable[int]) -> None:
        """Compare these live conversations with Postgres, in one query, and bring on those that are behind."""
        asked = list(conversation_ids)
        if not asked:
            return
        async with self._pool.connection() as connection:
            heads = await queries.heads(connection, asked)
        behind = []
        for session in [self._sessions[one] for one in asked if one in self._sessions]:
            epoch, last_seq, version = heads.get(session.conversation_id, (None, 0, 0))
            if epoch != session.epoch:
                session.end("deleted")
            elif last_seq > session.last_seq or version > session.version:
                behind.append((session, last_seq, version))
        await _some_at_once(behind, lambda one: one[0].repair(last_seq=one[1], version=one[2]))

    def _retire_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for conversation_id, session in self._sessions.items():
            if session.subscribers:
                self._idle_since.pop(conversation_id, None)
            else:
                self._idle_since.setdefault(conversation_id, now)
        too_many = len(self._idle_since) - IDLE_LIMIT
        for number, (conversation_id, since) in enumerate(list(self._idle_since.items())):
            if number < too_many or now - since > IDLE_SECONDS:
                self._retire(conversation_id)

    def _retire(self, conversation_id: int) -> None:
        self._listener.unfollow(group_of(conversation_id))
        self._sessions.pop(conversation_id).stop()
        del self._idle_since[conversation_id]
        metrics.SESSIONS_LIVE.dec()


async def _some_at_once(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do this for each of the items, `AT_ONCE` at a time. Raises what the first to fail raised."""
    left = iter(items)

    async def one_after_the_other() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


def _refs(refs: dict[str, list[Any]]) -> Refs:
    return {ref: (entry[0], entry[1]) for ref, entry in refs.items()}
