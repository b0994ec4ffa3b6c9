"""An agent as an ASGI application: https://asgi.readthedocs.io/en/latest/specs/www.html."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from .answers import STREAM_TYPE, Answer, problem

if TYPE_CHECKING:
    from .agent import Agent
    from .call import Call

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STREAM_HEADERS = [
    (b"content-type", STREAM_TYPE.encode()),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep words back
]


class AsgiApp:
    """Answers every POST, whatever its path, so that it can be mounted anywhere."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent

    @property
    def body_limit(self) -> int:
        """Bytes of one call."""
        return self._agent.body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"An agent speaks HTTP, not {scope['type']}.")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        admitted = await self._admit(scope, receive)
        if isinstance(admitted, Answer):
            await _send_whole(send, admitted)
        elif admitted is not None:
            await _until_hang_up(self._answer(admitted, send), receive)

    async def _admit(self, scope: Scope, receive: Receive) -> "Call | Answer | None":
        """What to work on, or what to answer at once; None if the caller has hung up already."""
        if scope["method"] != "POST":
            return problem(405, "method_not_allowed", "An agent is called with POST.")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > self.body_limit:
                return problem(413, "too_large", f"The call is over {self.body_limit} bytes.")
            if not message.get("more_body", False):
                return self._agent.admit(bytes(body), headers)
        return None

    async def _answer(self, call: "Call", send: Send) -> None:
        async with await self._agent.run_of(call) as run:
            whole = await run.head()
            if whole is not None:
                await _send_whole(send, whole)
                return
            await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            async for event in run.events():
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _until_hang_up(answering: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Answer; stop as soon as the caller hangs up."""
    work = asyncio.ensure_future(answering)
    hang_up = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait([work, hang_up], return_when=asyncio.FIRST_COMPLETED)
    finally:
        hang_up.cancel()
        was_done = work.done()
        work.cancel()
        await asyncio.wait([work])
    if was_done:
        work.result()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_whole(send: Send, answer: Answer) -> None:
    headers = [(b"content-length", str(len(answer.body)).encode())]
    if answer.body:
        headers.append((b"content-type", answer.content_type.encode()))
    if answer.retry_after is not None:
        headers.append((b"retry-after", str(answer.retry_after).encode()))
    if answer.status == 204:
        headers = []  # it has no body, nor a length
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
