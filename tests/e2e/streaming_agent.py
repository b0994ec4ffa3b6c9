"""An agent that says exactly what a test tells it to say, when it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.e2e.phoenix import PATIENCE

HOST = "127.0.0.1"


class Call:
    """One call of the agent: what it was asked, and the stream that is its answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.hung_up = asyncio.Event()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.chunk(type="start")
        self.chunk(type="text-start", id="t")

    @property
    def new(self) -> list[str]:
        """The texts that are new to the agent."""
        return [m["text"] for m in self.body["conversation"] if m["seq"] >= self.body["new_from_seq"]]

    def chunk(self, **chunk: Any) -> None:
        """Stream one chunk."""
        self._lines.put_nowait(f"data: {json.dumps(chunk)}\n\n".encode())

    def say(self, text: str) -> None:
        """Stream a piece of text."""
        self.chunk(type="text-delta", id="t", delta=text)

    def end(self) -> None:
        """Come to the end of the answer."""
        self.chunk(type="text-end", id="t")
        self.chunk(type="finish")
        self._lines.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Stream what the test says until it says that this is the end, or the caller hangs up."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while (line := await self._lines.get()) is not None:
                await response.write(line)
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up.set()
            raise
        return response


class Agent:
    """Where it listens, and the calls that it gets."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: asyncio.Queue[Call] = asyncio.Queue()

    async def call(self) -> Call:
        """The next call."""
        async with asyncio.timeout(PATIENCE):
            return await self.calls.get()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take a call."""
        call = Call(await request.json())
        self.calls.put_nowait(call)
        return await call.answer(request)


@asynccontextmanager
async def streaming_agent() -> AsyncIterator[Agent]:
    """An agent that listens while this context lasts."""
    agent = Agent()
    app = web.Application()
    app.router.add_post("/", agent.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    port = runner.addresses[0][1]
    agent.url = f"http://{HOST}:{port}/"
    try:
        yield agent
    finally:
        await runner.cleanup()
