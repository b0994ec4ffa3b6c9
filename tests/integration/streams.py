"""Delivery streams without a dispatcher: tests append, claim and finish with the statements themselves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from agents import marking, registration, store
from agents.calls import AttemptRecord, ClaimedStream, Ending, Finish
from agents.models import Attempt, DeliveryStream, Subscription
from conversations.connection import Connection
from conversations.models import Conversation
from runtime import members
from runtime.database import make_pool

URL = "http://127.0.0.1:9/agent"
LEASE = 30.0

Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections that end with the test."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(make_pool())

        async def connect() -> Connection:
            return await stack.enter_async_context(pool.connection())

        yield connect


@pytest.fixture
async def connection(connect: Connect) -> Connection:
    await retire_other_streams()
    return await connect()


@sync_to_async
def retire_other_streams() -> None:
    """Streams of other tests, which share the database, would be claimed too."""
    Subscription.objects.all().delete()
    DeliveryStream.objects.update(due_at=None, lease_id=None, blocked=False)


class Talk:
    """A conversation between a user and an agent, with ids of its own."""

    def __init__(self) -> None:
        name = uuid4().hex[:12]
        self.user, self.agent = f"u-{name}", f"a-{name}"
        self.key = f"{self.agent}:{self.user}"

    @sync_to_async
    def begin(self, **options: Any) -> None:
        self.secret = registration.register_agent(self.agent, URL, **options).secret
        members.ensure_dm(self.key)
        self.id = Conversation.objects.get(key=self.key).id

    async def say(
        self,
        connection: Connection,
        sender_id: str | None = None,
        text: str = "hi",
        *,
        kind: str = "text",
        mentions: Sequence[str] = (),
    ) -> int:
        """Append as the appender does, with its own statements; returns the number of streams that were
        marked."""
        async with connection.transaction():
            return await self.say_in_transaction(
                connection, sender_id or self.user, text, kind=kind, mentions=mentions
            )

    async def say_in_transaction(
        self,
        connection: Connection,
        sender_id: str,
        text: str = "hi",
        *,
        kind: str = "text",
        mentions: Sequence[str] = (),
    ) -> int:
        cursor = await connection.execute(
            "UPDATE conversations_conversation SET last_seq = last_seq + 1, countable = countable + 1 "
            "WHERE id = %s RETURNING last_seq",
            (self.id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        await connection.execute(
            "INSERT INTO conversations_message (id, conversation_id, seq, countable, sender_id, kind, text, "
            "content, metadata, mentions, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, '{}', '{}', '[]', now())",
            (uuid4(), self.id, row[0], row[0], sender_id, kind, text),
        )
        news = marking.News(self.id, row[0], sender_id, kind == "text", mentions)
        return (await connection.run(*marking.mark_due([news])))[-1].count

    @sync_to_async
    def stream(self) -> DeliveryStream:
        return DeliveryStream.objects.get(conversation_id=self.id, agent_id__isnull=False)

    @sync_to_async
    def attempts(self) -> list[Attempt]:
        return list(Attempt.objects.filter(stream__conversation_id=self.id).order_by("id"))


@pytest.fixture
async def talk(connection: Connection) -> Talk:
    talk = Talk()
    await talk.begin()
    return talk


async def look(connection: Connection, limit: int = 100, **options: Any) -> tuple[list[ClaimedStream], int]:
    """What a dispatcher's look brings: claimed streams, and how many were set aside."""
    options = {
        "held": {},
        "lease_seconds": LEASE,
        "give_up_after": 259_200.0,
        "probe_pause_max": 300.0,
        **options,
    }
    return await store.claim_due_streams(connection, limit=limit, **options)


async def claim(connection: Connection, limit: int = 100, **options: Any) -> list[ClaimedStream]:
    return (await look(connection, limit, **options))[0]


async def claim_one(connection: Connection, **options: Any) -> ClaimedStream:
    (stream,) = await claim(connection, **options)
    return stream


def delivered(stream: ClaimedStream) -> Finish:
    return Finish(
        stream, Ending.DELIVERED, None, AttemptRecord(outcome="accepted", status=204, duration_ms=3)
    )


def failed(stream: ClaimedStream, retry_in: float | None) -> Finish:
    attempt = AttemptRecord(outcome="refused", status=500, duration_ms=3, error="no\0 \udc80")
    return Finish(stream, Ending.PARK if retry_in is None else Ending.RETRY, retry_in, attempt)


def make_dm(key: str) -> int:
    members.ensure_dm(key)
    return Conversation.objects.get(key=key).id
