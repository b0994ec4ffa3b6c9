"""The Python SDK before what is no FleetLM: a proxy's pages, a token function that fails or never returns."""

import asyncio
import contextlib
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import websockets
from fleetlm_client import AsyncFleetLM, FleetLMError, Timing
from fleetlm_client.tokens import Tokens
from websockets.asyncio.server import ServerConnection, serve

PAGE = b"Content-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
MOVED = b"HTTP/1.1 301 Moved\r\nLocation: https://other/\r\n" + PAGE
OK_PAGE = b"HTTP/1.1 200 OK\r\n" + PAGE
EMPTY = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
OTHER_JSON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
)
NO_GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + PAGE
REFUSED = b"HTTP/1.1 401 Unauthorized\r\n" + PAGE


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The URL of one who says always the same."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def code(work: Awaitable[object]) -> str:
    with pytest.raises(FleetLMError) as failed:
        async with asyncio.timeout(5):
            await work
    return failed.value.code


@pytest.mark.parametrize("answer", [MOVED, OK_PAGE, EMPTY, OTHER_JSON, NO_GZIP])
async def test_an_answer_that_is_not_fleetlms_is_said(answer: bytes) -> None:
    async with answering(answer) as url, AsyncFleetLM(url, participant_id="alice") as fleet:
        conversation = fleet.conversation("alice:bob")
        sends = [asyncio.create_task(code(conversation.send(text))) for text in ("one", "two")]
        assert await asyncio.gather(*sends) == ["invalid_answer"] * 2
        assert await code(conversation.history()) == "invalid_answer"
        assert await code(conversation.info()) == "invalid_answer"
        assert await code(conversation.read(1)) == "invalid_answer"
        assert await code(fleet.inbox()) == "invalid_answer"


async def test_request_gives_a_text_as_it_is() -> None:
    async with answering(OK_PAGE) as url, AsyncFleetLM(url) as fleet:
        assert await fleet.request("GET", "/") == "hi"


async def test_a_stream_that_is_refused_is_closed_whatever_the_token_function_does() -> None:
    given = iter(["first"])
    async with answering(REFUSED) as url, AsyncFleetLM(url, token=lambda: next(given)) as fleet:
        assert await code(fleet._rest.stream("/", {}, {})) == "token_unavailable"
        assert fleet._rest._client()._transport._pool.connections == []  # type: ignore[attr-defined]


async def never() -> str:
    await asyncio.Event().wait()
    return ""


async def test_a_token_function_that_never_returns() -> None:
    released = threading.Event()

    def blocks() -> str:
        released.wait()
        return "late"

    functions: list[Callable[[], str | Awaitable[str]]] = [never, blocks]
    for function in functions:
        async with AsyncFleetLM(token=function, retry_for=0, timing=Timing(reply=0.1)) as fleet:
            conversation = fleet.conversation("alice:bob")
            both = [code(conversation.send("one")), code(conversation.history())]
            assert await asyncio.gather(*both) == ["token_unavailable"] * 2
    async with AsyncFleetLM(token=blocks) as fleet:
        sending = asyncio.create_task(code(fleet.conversation("alice:bob").send("one")))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await fleet.close()
        assert await sending == "closed"
    released.set()


def token(name: str, lives: float) -> str:
    claims = json.dumps({"sub": name, "exp": time.time() + lives})
    return f"e30.{urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


async def test_a_known_token_is_used_as_long_as_it_is_good() -> None:
    given = [token("alice", 1000.0)]
    tokens = Tokens(lambda: given.pop(), 1.0)
    first = await tokens.current()
    tokens._replace_at = 0.0
    assert await tokens.current() == first
    assert tokens._replace_at > time.time()  # it is not asked again at once
    given.append(token("alice", -1.0))
    assert await tokens.replace(first)
    assert await code(tokens.current()) == "token_unavailable"


async def test_who_gives_up_joining_leaves() -> None:
    frames: asyncio.Queue[list[object]] = asyncio.Queue()

    async def silent(connection: ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                frames.put_nowait(json.loads(await connection.recv()))

    async def follow(fleet: AsyncFleetLM) -> None:
        async for _ in fleet.conversation("alice:bob").events():
            pass

    async with serve(silent, "127.0.0.1", 0) as server, asyncio.timeout(5):
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with AsyncFleetLM(url, participant_id="alice") as fleet:
            following = asyncio.create_task(follow(fleet))
            ref, _, *join, _ = await frames.get()
            assert join == ["conversation:alice:bob", "phx_join"]
            following.cancel()
            left = await frames.get()
            assert [left[0], *left[2:4]] == [ref, "conversation:alice:bob", "phx_leave"]
