"""Real HTTP agents on loopback, a dispatcher in the test's own process, and what Postgres says of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web
from asgiref.sync import sync_to_async
from multidict import CIMultiDict
from standardwebhooks import Webhook

from agents import registration
from agents.models import Attempt, DeliveryStream
from conversations.append import AppendRequest
from conversations.models import Message
from runtime import members
from runtime.answers import Append
from runtime.core import Runtime
from runtime.dispatcher import Dispatcher
from runtime.run_relay import RunRelay

PATIENCE = 10.0
"""Seconds after which a test gives up waiting."""

Reply = Callable[["Received"], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One call as the agent got it, its signature verified."""

    headers: "CIMultiDict[str]"
    body: dict[str, Any]
    request: web.Request

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.body["conversation"]]


@dataclass
class Agent:
    """An HTTP agent: `replies` are served in turn, the last one for ever."""

    id: str
    secret: str = ""
    calls: list[Received] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    called: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        verified = Webhook(self.secret).verify(raw, dict(request.headers))
        received = Received(CIMultiDict(request.headers), verified, request)
        async with self.called:
            self.calls.append(received)
            self.called.notify_all()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(received)

    async def wait_for_calls(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE), self.called:
            await self.called.wait_for(lambda: len(self.calls) >= number)


def answer(status: int = 200, body: Any = None, **headers: str) -> Reply:
    async def reply(received: Received) -> web.StreamResponse:
        raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        return web.Response(status=status, body=raw, content_type="application/json", headers=headers)

    return reply


def answer_after(event: asyncio.Event, reply: Reply) -> Reply:
    async def wait(received: Received) -> web.StreamResponse:
        await event.wait()
        return await reply(received)

    return wait


@contextlib.asynccontextmanager
async def served(agent: Agent) -> AsyncIterator[str]:
    """Something that is called, on loopback; its URL."""
    app = web.Application()
    app.router.add_post("/", agent.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}/".format(*runner.addresses[0])
    await runner.cleanup()


@contextlib.asynccontextmanager
async def serving_agent(reply: Reply, **options: Any) -> AsyncIterator[Agent]:
    """An agent, served and registered."""
    agent = Agent(f"a-{uuid4().hex[:12]}", replies=[reply])
    async with served(agent) as url:
        registered = await sync_to_async(registration.register_agent)(agent.id, url, **options)
        agent.secret = registered.secret
        yield agent


def make_dispatcher(runtime: Runtime, append: Append) -> Dispatcher:
    return Dispatcher(runtime.pool, append, RunRelay(runtime.publisher, runtime.partials))


@contextlib.asynccontextmanager
async def dispatching(runtime: Runtime, append: Any = None) -> AsyncIterator[Dispatcher]:
    """A dispatcher at work; left, it drains."""
    stop = asyncio.Event()
    dispatcher = make_dispatcher(runtime, append or runtime.gateway.append)
    task = asyncio.create_task(dispatcher.run(stop))
    try:
        yield dispatcher
    finally:
        stop.set()
        await task


@dataclass
class Talk:
    runtime: Runtime
    key: str
    user: str
    agent: str

    async def say(self, text: str, sender_id: str | None = None, kind: str = "text") -> int:
        request = AppendRequest(
            key=self.key, sender_id=sender_id or self.user, text=text, kind=kind, privileged=True
        )
        return (await self.runtime.gateway.append(request)).message.seq

    @sync_to_async
    def texts(self) -> list[tuple[str, str]]:
        messages = Message.objects.filter(conversation__key=self.key).order_by("seq")
        return list(messages.values_list("sender_id", "text"))

    @sync_to_async
    def stream(self) -> DeliveryStream:
        return DeliveryStream.objects.get(conversation__key=self.key, agent_id__isnull=False)

    @sync_to_async
    def attempts(self) -> list[Attempt]:
        return list(Attempt.objects.filter(stream__conversation__key=self.key).order_by("id"))

    async def settled(self, cursor: int) -> DeliveryStream:
        """The stream, once it has got to this cursor and rests."""
        return await self.until(lambda stream: stream.cursor >= cursor and stream.lease_id is None)

    async def until_async(self, look: Callable[[], Awaitable[int]], condition: Callable[[int], bool]) -> None:
        """Return when what one looks at is as it should be."""
        async with asyncio.timeout(PATIENCE):
            while not condition(await look()):  # noqa: ASYNC110  # only the rows tell
                await asyncio.sleep(0.005)

    async def until(self, condition: Callable[[DeliveryStream], bool]) -> DeliveryStream:
        async with asyncio.timeout(PATIENCE):
            while True:
                stream = await self.stream()
                if condition(stream):
                    return stream
                await asyncio.sleep(0.005)


async def begin(runtime: Runtime, agent: Agent) -> Talk:
    """A conversation of the agent with a new user."""
    user = f"u-{uuid4().hex[:12]}"
    key = f"{agent.id}:{user}"
    await sync_to_async(members.ensure_dm)(key)
    return Talk(runtime, key, user, agent.id)
