"""What tests of live conversations stand on: groups with ids of their own, an appender that tells nobody, and subscribers
that keep what they get."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import psycopg
from django.conf import settings

from conversations import queries
from conversations.append import Appended, AppendRequest
from runtime import members
from runtime.appender import Appender
from runtime.batch import Committed
from runtime.core import Runtime
from runtime.database import Pool, in_thread, make_pool
from runtime.session import Session

PATIENCE = 5.0
"""Seconds after which a test gives up waiting."""


def unique(prefix: str = "p") -> str:
    """An id that no other test has."""
    return f"{prefix}-{uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True)
class Group:
    """A conversation of a test."""

    id: int
    key: str
    people: tuple[str, ...]

    def request(self, text: str = "hello", sender: int | str = 0, **fields: Any) -> AppendRequest:
        """An append by one of its people, given by number or by id."""
        sender_id = self.people[sender] if isinstance(sender, int) else sender
        return AppendRequest(key=self.key, sender_id=sender_id, text=text, **fields)


async def make_group(people: int | Iterable[str] = 2, *, kind: str = "group", admins: int = 0) -> Group:
    """A conversation of so many new people, or of these; the first `admins` of them are admins."""
    names = tuple(unique() for _ in range(people)) if isinstance(people, int) else tuple(people)
    roles = {name: "admin" if number < admins else "member" for number, name in enumerate(names)}
    conversation = await in_thread(members.create, unique("c"), kind, roles, make_participants=True)
    return Group(conversation.id, conversation.key, names)


def make_appender(
    pool: Pool, on_commit: Callable[[Committed], None] = lambda batch: None, **limits: int
) -> Appender:
    """An appender that is not started yet and, unless told otherwise, publishes nothing."""
    config = settings.FLEETLM
    bounds = {
        "batch_items": config.append_batch_items,
        "queue_items": config.append_queue_items,
        "queue_bytes": config.append_queue_bytes,
    }
    return Appender(pool, on_commit=on_commit, **(bounds | limits))


@asynccontextmanager
async def silent_appender() -> AsyncIterator[Appender]:
    """An appender with a pool of its own whose commits nobody is told of: every publish is lost."""
    async with make_pool(2) as pool:
        appender = make_appender(pool)
        appender.start()
        yield appender
        await appender.stop(PATIENCE)


@asynccontextmanager
async def running_runtime() -> AsyncIterator[Runtime]:
    """All that moves in one process."""
    runtime = Runtime()
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


async def append(appender: Appender, *requests: AppendRequest) -> list[Appended]:
    """Append all of these at once; raises what the first to fail raised."""
    return list(await asyncio.gather(*[appender.submit(request) for request in requests]))


async def find_view(pool: Pool, group: Group, participant_id: str | None = None) -> queries.View:
    """The conversation as it is in Postgres now."""
    async with pool.connection() as connection:
        view = await queries.view(connection, group.key, participant_id)
    assert view is not None
    return view


async def break_connections(pool: Pool) -> None:
    """Postgres ends every connection that the pool holds, as it does when it is restarted; the pool does not know yet."""
    async with AsyncExitStack() as stack:
        size = pool.get_stats()["pool_size"]
        held = [await stack.enter_async_context(pool.connection()) for _ in range(size)]
        pids = [connection.info.backend_pid for connection in held]
    async with await psycopg.AsyncConnection.connect(settings.FLEETLM.database_url) as killer:
        await killer.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) AS pid", (pids,))


@asynccontextmanager
async def holding(sql: str, *values: Any) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Somebody else's transaction, which holds the locks of this statement while the context lasts."""
    async with await psycopg.AsyncConnection.connect(settings.FLEETLM.database_url) as connection:
        await connection.execute(sql, values)
        yield connection


async def waiting_for(holder: psycopg.AsyncConnection[Any], number: int = 1) -> list[int]:
    """The process ids of the connections that wait for this one's locks, as soon as there are so many."""
    connect = psycopg.AsyncConnection.connect(settings.FLEETLM.database_url, autocommit=True)
    async with asyncio.timeout(PATIENCE), await connect as connection:
        while True:
            cursor = await connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
                (holder.info.backend_pid,),
            )
            found = [row[0] for row in await cursor.fetchall()]
            if len(found) >= number:
                return found


async def stored_seqs(pool: Pool, group: Group) -> list[int]:
    """The seqs of its messages in Postgres."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT seq FROM conversations_message WHERE conversation_id = %s ORDER BY seq", (group.id,)
        )
        return [row[0] for row in await cursor.fetchall()]


class Recorder:
    """A subscriber that keeps what it gets; it is its own address."""

    def __init__(self, participant_id: str | None = None, session: Session | None = None) -> None:
        self.participant_id = participant_id
        self.session = session
        self.frames: list[tuple[str, Any, int | None]] = []
        self.ended: str | None = None
        self.behind = False
        self._changed = asyncio.Event()

    @property
    def address(self) -> "Recorder":
        return self

    @property
    def seqs(self) -> list[int]:
        return [seq for _, _, seq in self.frames if seq is not None]

    def payloads(self, event: str) -> list[Any]:
        return [payload for name, payload, _ in self.frames if name == event]

    def frame(self, event: str, payload: bytes, seq: int | None) -> Any:
        return event, orjson.loads(payload), seq

    def write(self, frame: Any) -> None:
        self.frames.append(frame)
        self._changed.set()

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def end(self, reason: str) -> None:
        self.ended = reason
        if self.session is not None:
            self.session.remove(self)
        self._changed.set()

    async def until(self, condition: Callable[["Recorder"], object]) -> None:
        """Return when the condition holds; raises `TimeoutError` if it never does."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_seq(self, seq: int) -> None:
        """Return when this seq has come, and check that all came once and in order."""
        await self.until(lambda one: one.seqs and one.seqs[-1] >= seq)
        assert self.seqs == list(range(self.seqs[0], seq + 1))


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds, looking at it at every turn of the loop."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # there is no event of it
            await asyncio.sleep(0)
