"""The live conversations of a process, and what keeps them in step with the other processes and with Postgres."""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.conf import settings

from conversations import queries
from observability import metrics
from runtime.channel_layer import group_of
from runtime.database import Pool
from runtime.listener import Listener
from runtime.outage import DATABASE_AWAY
from runtime.presence import Refs
from runtime.publisher import Publisher
from runtime.session import Session
from runtime.tasks import end_tasks

logger = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
"""A conversation that nobody follows any more stays warm for this long."""

HEARTBEAT_SECONDS = 3.0
SILENCE_SECONDS = 10.0
"""A process that was not heard for this long is taken for dead: its presences end."""

ANNOUNCE_EVERY = 10
"""Every so many heartbeats a process tells all of its presences again, in case a difference was lost."""

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
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to compare with Postgres and to tell others that this process lives."""
        self._listener.follow(PROCESSES)
        self._tasks = [
            asyncio.create_task(self._repair_for_ever(), name="session-repair"),
            asyncio.create_task(self._heartbeat_for_ever(), name="session-heartbeat"),
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
            session = Session(self._pool, view, announce=partial(self._announce_presence, view.id))
            self._sessions[view.id] = session
            metrics.SESSIONS_LIVE.inc()
            self._listener.follow(group_of(view.id), partial(self._followed, session))
        self._idle_since.pop(view.id, None)
        return session

    async def _followed(self, session: Session) -> None:
        # What was published between the reading of `view` and now was not heard here.
        try:
            await session.check()
            await session.runs.learn()
        except DATABASE_AWAY as error:
            logger.warning("Conversation %s waits for Postgres: %s", session.key, error)
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
            if self._announce_next or beats % ANNOUNCE_EVERY == 0:
                self._announce_next = False
                for session in self._sessions.values():
                    session.presence.announce_all()
            silent = asyncio.get_running_loop().time() - SILENCE_SECONDS
            for process in [process for process, heard in self._processes.items() if heard < silent]:
                self._forget(process)
            await asyncio.sleep(HEARTBEAT_SECONDS)

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
        for conversation_id in asked:
            session = self._sessions.get(conversation_id)
            if session is None:
                continue
            epoch, last_seq, version = heads.get(conversation_id, (None, 0, 0))
            if epoch != session.epoch:
                session.end("deleted")
            elif last_seq > session.last_seq or version > session.version:
                await session.repair(last_seq=last_seq, version=version)

    def _retire_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for conversation_id, session in list(self._sessions.items()):
            if session.subscribers:
                self._idle_since.pop(conversation_id, None)
            elif now - self._idle_since.setdefault(conversation_id, now) > IDLE_SECONDS:
                self._listener.unfollow(group_of(conversation_id))
                session.stop()
                del self._sessions[conversation_id]
                del self._idle_since[conversation_id]
                metrics.SESSIONS_LIVE.dec()


def _refs(refs: dict[str, list[Any]]) -> Refs:
    return {ref: (entry[0], entry[1]) for ref, entry in refs.items()}
