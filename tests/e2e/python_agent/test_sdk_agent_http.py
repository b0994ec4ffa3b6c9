"""The agent helper over real connections, in this process: what a handler sees and what its caller gets."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fleetlm_client.agent import Agent, Answer, Call, Gone, Later, RetryLater
from fleetlm_client.agent import run as runs
from fleetlm_client.agent import server as servers

from tests.e2e.calls import AGENT, ALICE, call, said

PATIENCE = 10.0
HELLO = call(said(1, ALICE, "hello"))


def fresh_call(text: str = "hello") -> dict[str, Any]:
    return call(said(1, ALICE, text))


@contextlib.asynccontextmanager
async def served(handler: Any, **options: Any) -> AsyncIterator["Caller"]:
    agent = Agent(handler, **options)
    async with agent.serving() as url, aiohttp.ClientSession() as http:
        yield Caller(http, url)


class Caller:
    """One who calls the agent, over connections that are kept."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.port = int(url.rstrip("/").rpartition(":")[2])

    async def post(self, body: dict[str, Any]) -> tuple[int, bytes]:
        async with self.http.post(self.url, json=body, headers={"webhook-id": body["id"]}) as response:
            return response.status, await response.read()

    async def answer(self, body: dict[str, Any] | None = None) -> Any:
        status, answered = await self.post(body or fresh_call())
        assert status == 200, answered
        return json.loads(answered)

    async def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes, until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()
            await writer.wait_closed()


def http_request(body: dict[str, Any], version: str = "1.1", *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"POST /any/path HTTP/{version}", "host: x", f"content-length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


# What may be a handler


class Object:
    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    async def __call__(self, call: Call) -> str:
        return call.text

    def method(self, call: Call) -> str:
        return call.text


async def plain_async(call: Call) -> str:
    return call.text


async def gives_a_generator(call: Call) -> AsyncIterator[str]:
    return pieces(call)


async def pieces(call: Call) -> AsyncIterator[str]:
    yield call.text


def steps(call: Call) -> Iterator[str]:
    assert threading.current_thread() is not threading.main_thread()
    yield call.text


@pytest.mark.parametrize(
    "handler",
    [
        lambda call: call.text,
        lambda call: [call.text],
        lambda call: iter([call.text]),
        plain_async,
        Object(),
        Object().method,
        gives_a_generator,
        pieces,
        steps,
    ],
    ids=lambda handler: getattr(handler, "__name__", "object"),
)
async def test_every_kind_of_handler_answers(handler: Any) -> None:
    async with served(handler) as caller:
        status, body = await caller.post(fresh_call("grüße"))
        assert (status, "grüße" in body.decode()) == (200, True)
        assert (await caller.post(fresh_call()))[0] == 200


async def test_as_a_decorator_it_leaves_the_function_as_it_is() -> None:
    agent = Agent()

    @agent
    def answer(call: Call) -> str:
        return "yes"

    assert answer(Call.from_json(HELLO)) == "yes"
    assert agent.handler is answer


async def test_without_a_handler_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with served(None) as caller:
        assert (await caller.post(HELLO))[0] == 500
    assert "has no handler" in caplog.text


# Errors


def raising(error: BaseException) -> Any:
    async def handler(call: Call) -> str:
        raise error

    async def stream(call: Call) -> AsyncIterator[str]:
        raise error
        yield ""

    return handler, stream


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(ValueError("secret"), 500, None), (Gone(), 410, None), (RetryLater(30), 503, "30")],
)
async def test_what_a_handler_raises_is_a_status(
    error: Exception, status: int, retry_after: str | None, kind: int
) -> None:
    async with served(raising(error)[kind]) as caller, caller.http.post(caller.url, json=HELLO) as response:
        assert (response.status, response.headers.get("retry-after")) == (status, retry_after)
        assert "secret" not in await response.text()


async def test_an_error_inside_a_stream_is_an_error_chunk_and_is_not_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[Call] = []

    async def handler(call: Call) -> AsyncIterator[str]:
        calls.append(call)
        yield "so far"
        if len(calls) == 1:
            raise ValueError("sk-secret")

    async with served(handler) as caller:
        _, first = await caller.post(HELLO)
        assert b'{"type":"error","errorText":"The agent has failed."}' in first
        assert b"finish" not in first
        assert b"sk-secret" not in first
        _, second = await caller.post(HELLO)
        assert b'{"type":"finish"}' in second
        assert (await caller.post(HELLO))[1] == second
    assert len(calls) == 2
    assert "sk-secret" in caplog.text


async def test_an_error_chunk_of_the_handler_is_not_remembered() -> None:
    async def handler(call: Call) -> AsyncIterator[Any]:
        calls.append(call)
        yield {"type": "error", "errorText": "no model"}

    calls: list[Call] = []
    async with served(handler) as caller:
        for _ in range(2):
            assert b"no model" in (await caller.post(HELLO))[1]
    assert len(calls) == 2


async def test_a_handler_whose_own_work_was_cancelled_has_failed() -> None:
    async with served(raising(asyncio.CancelledError())[0]) as caller:
        assert (await within(caller.post(HELLO)))[0] == 500


async def test_a_value_that_is_no_answer_fails() -> None:
    async with served(lambda call: 7) as caller:
        assert (await caller.post(HELLO))[0] == 500


async def test_later_is_204_without_a_body() -> None:
    async with served(lambda call: Later) as caller:
        assert await caller.post(HELLO) == (204, b"")
        assert await caller.post(HELLO) == (204, b"")
        assert await caller.post(fresh_call()) == (204, b"")


async def test_a_ping_is_none_for_the_handler() -> None:
    async with served(None) as caller:
        assert await caller.answer({**HELLO, "type": "ping"}) == {"text": "pong"}


# Callers who hang up


class Slow:
    """A handler at work until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        self.calls = 0

    async def whole(self, call: Call) -> str:
        self.calls += 1
        self.begun.set()
        try:
            await self.go_on.wait()
        finally:
            self.stopped.set()
        return "done"

    async def silent(self, call: Call) -> AsyncIterator[str]:
        await self.whole(call)
        yield "done"


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE)


@pytest.mark.parametrize("name", ["whole", "silent"])
async def test_a_handler_is_stopped_when_its_caller_hangs_up(name: str) -> None:
    slow = Slow()
    async with served(getattr(slow, name)) as caller:
        calling = asyncio.create_task(caller.post(HELLO))
        await within(slow.begun.wait())
        assert not slow.stopped.is_set()
        calling.cancel()
        await within(slow.stopped.wait())
        slow.go_on.set()
        assert (await caller.post(HELLO))[0] == 200
    assert slow.calls == 2, "what was stopped is not done, so that a retry does it"


async def test_it_goes_on_while_another_waits_for_the_same_answer() -> None:
    slow = Slow()
    async with served(slow.whole) as caller:
        first = asyncio.create_task(caller.post(HELLO))
        await within(slow.begun.wait())
        second = asyncio.create_task(caller.post(HELLO))
        await caller.answer({**fresh_call(), "type": "ping"})  # by now the second is there
        first.cancel()
        await caller.answer({**fresh_call(), "type": "ping"})
        assert not slow.stopped.is_set()
        slow.go_on.set()
        assert json.loads((await within(second))[1]) == {"text": "done"}
    assert slow.calls == 1


async def test_a_handler_in_a_thread_goes_on_and_its_retry_gets_the_answer() -> None:
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def handler(call: Call) -> str:
        calls.append(call)
        begun.set()
        assert go_on.wait(PATIENCE)
        return "done"

    async with served(handler) as caller:
        calling = asyncio.create_task(caller.post(HELLO))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        calling.cancel()
        retry = asyncio.create_task(caller.post(HELLO))
        await caller.answer({**fresh_call(), "type": "ping"})
        go_on.set()
        assert json.loads((await within(retry))[1]) == {"text": "done"}
    assert len(calls) == 1


async def test_a_generator_does_not_run_ahead_of_its_reader() -> None:
    made = 0

    async def handler(call: Call) -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 100_000
            await asyncio.sleep(0)

    async with served(handler) as caller, caller.http.post(caller.url, json=HELLO) as response:
        await response.content.readexactly(1_000_000)
        settled = -1
        while settled != made < 200:
            settled = made
            await asyncio.sleep(0.2)
        assert made < 200, "what no one has read is bounded by the buffers of the connection"


# Silence


async def test_a_silent_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FIRST_PIECE_SECONDS", 0.05)
    monkeypatch.setattr(runs, "QUIET_SECONDS", 0.05)
    slow = Slow()
    async with served(slow.silent) as caller, caller.http.post(caller.url, json=HELLO) as response:
        assert response.content_type == "text/event-stream"
        assert await within(response.content.readline()) == b": still here\n"
        slow.go_on.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_has_begun_in_silence_fails_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FIRST_PIECE_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def handler(call: Call) -> AsyncIterator[str]:
        await go_on.wait()
        raise Gone
        yield ""

    async with served(handler) as caller, caller.http.post(caller.url, json=HELLO) as response:
        assert response.status == 200
        go_on.set()
        assert b'"type":"error"' in await response.read()


# What is remembered


class SqliteStore:
    """What docs/clients/python-agents.md shows: answers that outlive the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS answers (id TEXT PRIMARY KEY, status INT, type TEXT, body BLOB)"
            )

    def get(self, webhook_id: str) -> Answer | None:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            row = database.execute(
                "SELECT status, type, body FROM answers WHERE id = ?", [webhook_id]
            ).fetchone()
        return Answer(*row) if row else None

    def put(self, webhook_id: str, answer: Answer) -> None:
        row = [webhook_id, answer.status, answer.content_type, answer.body]
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)


@pytest.mark.parametrize("handler", [lambda call: "done", pieces])
async def test_a_store_of_ones_own_outlives_the_process(tmp_path: Path, handler: Any) -> None:
    async with served(handler, remember=SqliteStore(tmp_path / "answers")) as caller:
        first = await caller.post(HELLO)
    async with served(lambda call: "another", remember=SqliteStore(tmp_path / "answers")) as caller:
        assert await caller.post(HELLO) == first
        assert await caller.answer() == {"text": "another"}


async def test_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def get(self, webhook_id: str) -> Answer | None:
            if webhook_id == "unreadable":
                raise OSError("no disk")
            return None

        def put(self, webhook_id: str, answer: Answer) -> None:
            raise OSError("no disk")

    async with served(lambda call: "done", remember=Broken()) as caller:
        assert (await caller.post({**HELLO, "id": "unreadable"}))[0] == 500
        assert await caller.answer() == {"text": "done"}, (
            "the work is done: better said twice than not at all"
        )
    assert "could not be remembered" in caplog.text


async def test_a_call_without_an_id_is_not_remembered() -> None:
    body = {"agent_id": AGENT, "conversation": [{"seq": 1, "sender_id": ALICE, "text": "hello"}]}
    numbers = iter(range(3))
    async with served(lambda call: str(next(numbers))) as caller:
        for number in range(3):
            async with caller.http.post(caller.url, json=body) as response:
                assert await response.json() == {"text": str(number)}


# The small server


async def test_connections_are_kept_and_requests_may_follow_each_other() -> None:
    async with served(pieces) as caller:
        both = http_request(fresh_call("one")) + http_request(fresh_call("two"), "1.1", "connection: close")
        answered = await caller.raw(both)
        assert answered.count(b"HTTP/1.1 200 OK") == 2
        assert answered.count(b"\r\n0\r\n\r\n") == 1, "the first in chunks, the last ended by the connection"
        assert answered.index(b"one") < answered.index(b"two")


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection() -> None:
    async with served(pieces) as caller:
        answered = await caller.raw(http_request(HELLO, "1.0"))
        assert b"chunked" not in answered
        assert answered.endswith(b"data: [DONE]\n\n")


async def test_who_asks_first_may_go_on() -> None:
    async with served(lambda call: "yes") as caller:
        answered = await caller.raw(http_request(HELLO, "1.1", "expect: 100-continue", "connection: close"))
        assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01 TLS\r\n\r\n", 400),
        (b"POST / HTTP/9\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 9999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nx: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
    ],
)
async def test_what_is_no_call_gets_a_status(request_bytes: bytes, status: int) -> None:
    async with served(lambda call: "yes") as caller:
        answered = await caller.raw(request_bytes)
        assert answered.startswith(f"HTTP/1.1 {status} ".encode()), answered
        assert await caller.answer() == {"text": "yes"}


async def test_who_says_nothing_or_half_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "READ_SECONDS", 0.1)
    monkeypatch.setattr(servers, "IDLE_SECONDS", 0.1)
    async with served(lambda call: "yes") as caller:
        assert await caller.raw(b"") == b""
        assert (await caller.raw(b"POST / HT")).startswith(b"HTTP/1.1 408 ")
        assert (await caller.raw(http_request(HELLO)[:-1])).startswith(b"HTTP/1.1 408 ")


async def test_a_call_over_the_limit_is_refused() -> None:
    async with served(lambda call: "yes", body_limit=2_000) as caller:
        assert (await caller.post(fresh_call("x" * 2_000)))[0] == 413
        assert (await caller.post(fresh_call()))[0] == 200


async def test_at_the_end_of_serving_a_port_is_free_again_and_idle_connections_are_closed() -> None:
    agent = Agent(lambda call: "yes")
    async with agent.serving() as url, aiohttp.ClientSession() as http:
        async with http.post(url, json=HELLO) as response:
            assert response.status == 200
        port = int(url.rstrip("/").rpartition(":")[2])
    async with agent.serving(port=port):
        pass
