"""Agents that answer with whatever may do harm: each is an attempt that failed for a clear reason, and nobody else notices."""

import asyncio
import contextlib
import gzip
import json
import re
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest

from tests.e2e.rest import Api
from tests.e2e.stack import HOST, Stack, plain_stack
from tests.integration.raw_agent import Behaviour, Talk, answering, head, raw_agent, response

ECHO: Final = "echo-bot"
MIB: Final = 1024 * 1024
GROWTH: Final = 100 * MIB
ATTEMPTS: Final = 3
"""Of each hostile agent: what comes again and again must not add up either."""
WITHIN: Final = 1.0
"""Seconds for an agent that is well to answer."""
PATIENCE: Final = 60.0

STREAM: Final = head(content_type="text/event-stream")
BOMB: Final = gzip.compress(bytes(200 * MIB), 9)


def event(**chunk: Any) -> bytes:
    """One chunk of a streamed answer."""
    return f"data: {json.dumps(chunk)}\n\n".encode()


OPENING: Final = event(type="start") + event(type="text-start", id="t")


def sending(*parts: bytes) -> Behaviour:
    """Sends this as its answer, and keeps the connection."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(*parts)
        await talk.hung_up()

    return behave


def breaking_off(*parts: bytes) -> Behaviour:
    """Sends this as its answer, and is gone."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(*parts)

    return behave


def pouring(start: bytes, part: bytes) -> Behaviour:
    """Never stops sending, as fast as it can."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(start)
        while True:
            await talk.send(part)

    return behave


def dripping(start: bytes, part: bytes) -> Behaviour:
    """Never stops sending, a little at a time."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(start)
        while True:
            await talk.send(part)
            await asyncio.sleep(0.05)  # that is what it is like

    return behave


@dataclass(frozen=True)
class Hostile:
    """How an agent misbehaves, and what the log is to say of it."""

    behaviour: Behaviour
    outcome: str
    error: str


TOO_MUCH: Final = r"^The answer is over 1048576 bytes\.$"
NO_HTTP: Final = r"^The agent's answer is not HTTP: "
NO_JSON: Final = "^The answer is not JSON"
NO_START: Final = r"^The agent did not begin to answer within 1 s\.$"


def json_answer(body: bytes) -> Behaviour:
    """Answers with this, and says that it is JSON."""
    return answering(response(body, content_type="application/json"))


HOSTILE: Final = {
    "endless-answer": Hostile(
        pouring(head(content_type="application/json"), b"x" * 65_536), "invalid_answer", TOO_MUCH
    ),
    "endless-stream": Hostile(
        pouring(STREAM + OPENING, event(type="text-delta", id="t", delta="on and ") * 100),
        "invalid_answer",
        r"text is over 32768 bytes",
    ),
    "endless-slow-stream": Hostile(
        dripping(STREAM + OPENING, event(type="text-delta", id="t", delta="and ")),
        "timed_out",
        r"^The agent's stream took longer than 3 s in all\.$",
    ),
    "endless-comments": Hostile(pouring(STREAM, b": nothing\n\n" * 1_000), "invalid_answer", TOO_MUCH),
    "silent-stream": Hostile(
        sending(STREAM + OPENING), "timed_out", r"^The agent's stream was silent for 1 s\.$"
    ),
    "gzip-bomb": Hostile(
        answering(response(BOMB, content_type="application/json", content_encoding="gzip")),
        "invalid_answer",
        TOO_MUCH,
    ),
    "gzip-bomb-stream": Hostile(
        sending(head(content_type="text/event-stream", content_encoding="gzip"), BOMB),
        "invalid_answer",
        TOO_MUCH,
    ),
    "ten-megabyte-line": Hostile(
        sending(STREAM, b'data: "' + b"x" * 10 * MIB + b'"\n\n'), "invalid_answer", TOO_MUCH
    ),
    "no-utf-8": Hostile(json_answer(b'{"text": "\xff\xfe"}'), "invalid_answer", NO_JSON),
    "no-utf-8-stream": Hostile(
        sending(STREAM + OPENING, b'data: {"type":"text-delta","id":"t","delta":"\xc3\x28"}\n\n'),
        "invalid_answer",
        r"^The stream is not valid UTF-8\.$",
    ),
    "endless-headers": Hostile(
        pouring(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1_000), "invalid_answer", NO_HTTP
    ),
    "endless-header": Hostile(pouring(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65_536), "invalid_answer", NO_HTTP),
    "dripping-headers": Hostile(dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"), "timed_out", NO_START),
    "no-http": Hostile(sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "invalid_answer", NO_HTTP),
    "half-open": Hostile(sending(), "timed_out", NO_START),
    "half-an-answer": Hostile(
        sending(response(b'{"text": "hello"}')[:-5]),
        "timed_out",
        r"^The whole answer was not here within 1 s\.$",
    ),
    "gone-at-once": Hostile(breaking_off(), "unreachable", "hung up"),
    "gone-in-the-middle": Hostile(
        breaking_off(response(b'{"text": "hello"}', content_type="application/json")[:-5]),
        "unreachable",
        "broke off",
    ),
    "gone-in-the-stream": Hostile(
        breaking_off(STREAM + OPENING), "invalid_answer", "^The stream ended before"
    ),
    "a-list": Hostile(json_answer(b"[1, 2]"), "invalid_answer", "^The answer is neither"),
    "a-number": Hostile(json_answer(b'{"text": 7}'), "invalid_answer", "must be strings"),
    "no-list": Hostile(
        json_answer(b'{"messages": {"text": "hello"}}'), "invalid_answer", "messages is not a list"
    ),
    "too-deep": Hostile(json_answer(b"[" * 100_000), "invalid_answer", NO_JSON),
    "a-page": Hostile(answering(response(b"<html>", content_type="text/html")), "invalid_answer", NO_JSON),
    "nothing": Hostile(json_answer(b""), "invalid_answer", NO_JSON),
    "no-chunks": Hostile(sending(STREAM, b"data: [[[\n\n"), "invalid_answer", NO_JSON),
    "unknown-text": Hostile(
        sending(STREAM, event(type="text-delta", id="never begun", delta="x")),
        "invalid_answer",
        "no text-start",
    ),
}


@pytest.fixture(scope="module")
def strict_stack() -> Iterator[Stack]:
    """One web process, a dispatcher and the demo agent; short times, and no breaker, so that the bad go on being called."""
    settings = {
        "FLEETLM_AGENT_TIMEOUT": "1",
        "FLEETLM_AGENT_IDLE_TIMEOUT": "1",
        "FLEETLM_AGENT_STREAM_TIMEOUT": "3",
        "FLEETLM_AGENT_RETRY_SCHEDULE": "0.5",
        "FLEETLM_BREAKER_FAILURES": "0",
    }
    with plain_stack(**settings) as stack:
        stack.add_dispatcher()
        stack.add_agent()
        stack.await_work()
        yield stack


@pytest.fixture
async def api(strict_stack: Stack) -> AsyncIterator[Api]:
    async with Api(strict_stack.web) as client:
        yield client


@pytest.fixture
async def hostile(strict_stack: Stack, api: Api) -> AsyncIterator[list[str]]:
    """All of them, each registered under its name; and one whose socket nobody ever looks at."""
    async with contextlib.AsyncExitStack() as running:
        agents = {
            name: (await running.enter_async_context(raw_agent(one.behaviour))).url
            for name, one in HOSTILE.items()
        }
        asleep = running.enter_context(socket.create_server((HOST, 0)))
        agents["asleep"] = f"http://{HOST}:{asleep.getsockname()[1]}/"
        for name, url in agents.items():
            await api.call("POST", "agents", {"id": name, "url": url})
        yield list(agents)


async def test_hostile_agents_harm_nobody(
    strict_stack: Stack, api: Api, hostile: list[str], fresh: str, record_property: Any
) -> None:
    alice = f"alice-{fresh}"
    expected = {name: (one.outcome, one.error) for name, one in HOSTILE.items()}
    expected["asleep"] = ("timed_out", NO_START)
    for _ in range(20):
        await _ask(
            api, f"{alice}:{ECHO}", alice
        )  # everything is connected then, and what it imports is there
    processes = ("dispatcher", "web0")
    before = {name: strict_stack.resident_bytes(name) for name in processes}
    peak = dict(before)
    took: list[float] = []

    async with await psycopg.AsyncConnection.connect(
        strict_stack.database_url, autocommit=True
    ) as connection:
        await asyncio.gather(*(api.send(f"{alice}:{name}", alice, "hello") for name in hostile))
        async with asyncio.timeout(PATIENCE):
            while True:
                took.append(await _ask(api, f"{alice}:{ECHO}", alice))
                peak = {name: max(peak[name], strict_stack.resident_bytes(name)) for name in processes}
                log = await _attempts(connection)
                if all(len(log[name]) >= ATTEMPTS for name in hostile):
                    break

    for name in hostile:
        outcome, error = expected[name]
        for attempt in log[name]:
            assert attempt[0] == outcome, (name, attempt)
            assert re.search(error, attempt[1]), (name, attempt)
            assert attempt[1].isprintable(), (name, attempt)
            assert len(attempt[1]) < 300, (name, attempt)
        assert [message["text"] for message in await api.log(f"{alice}:{name}")] == ["hello"], name
    growth = {name: (peak[name] - before[name]) / MIB for name in processes}
    record_property("growth in MiB", growth)
    assert max(growth.values()) < GROWTH / MIB, growth
    slowest = statistics.quantiles(took, n=20)[-1]
    record_property("answers of the one that is well", f"{len(took)}, 95 of 100 within {slowest:.3f} s")
    assert slowest < WITHIN
    assert strict_stack.members["dispatcher"].printed().count(b"Calling agents") == 1
    assert b"Traceback" not in strict_stack.members["dispatcher"].printed()


async def _ask(api: Api, key: str, sender: str) -> float:
    """Say something to an agent; returns the seconds until it has answered."""
    began = time.monotonic()
    sent = await api.send(key, sender, "anyone?")
    async with asyncio.timeout(PATIENCE):
        page = await api.call("GET", f"conversations/{key}/messages?after={sent['seq']}&wait=25")
    assert page["messages"][0]["sender_id"] == ECHO
    return time.monotonic() - began


async def _attempts(connection: psycopg.AsyncConnection[Any]) -> dict[str, list[tuple[str, str]]]:
    """The outcome and the error of each attempt, by agent."""
    found = await connection.execute(
        "SELECT s.agent_id, a.outcome, a.error FROM agents_attempt a"
        " JOIN agents_deliverystream s ON s.id = a.stream_id ORDER BY a.id"
    )
    log: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for agent, outcome, error in await found.fetchall():
        log[agent].append((outcome, error))
    return log
