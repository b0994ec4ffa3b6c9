"""Every example agent as a real process: called as FleetLM calls it, then by FleetLM."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agents.signing import generate_secret
from runtime.ports import free_port
from runtime.program import Program
from tests.e2e.calls import AGENT, ALICE, call, said, signed
from tests.e2e.javascript import HERE, node
from tests.e2e.rest import Api
from tests.e2e.snippets import blocks
from tests.e2e.stack import HOST, ROOT, Member, Stack

EXAMPLES = ROOT / "examples"
NAMES = (
    "plain_agent",
    "node_agent",
    "streaming_agent",
    "verifying_agent",
    "pydantic_ai_agent",
    "openai_stub",
)
STUB_KEY = "sk-stub"
PATIENCE = 20.0
ONE_QUESTION = call(said(1, ALICE, "hello there"))


@dataclass
class Running:
    """The examples that a test has started, each on a port of its own."""

    directory: Path
    members: dict[str, Member] = field(default_factory=dict)

    def start(self, name: str, *, port: int = 0, **environment: str) -> str:
        """Start one with its documented command; where it is called."""
        port = port or free_port(HOST)
        program = Program(
            name=name,
            command=[*self.command(name), "--port", str(port)],
            directory=EXAMPLES / name,
            environment={**clean_environment(), **environment},
            log=self.directory / f"{name}.log",
        )
        self.members[name] = Member(program, lambda: listens(port))
        self.members[name].start()
        return f"http://{HOST}:{port}/"

    def command(self, name: str) -> list[str]:
        """How it is run."""
        if name == "node_agent":
            return [node(), "agent.mjs"]
        return [sys.executable, "__main__.py" if name == "echo_agent" else "agent.py"]

    def terminate(self, name: str) -> None:
        """Ask one to stop."""
        process = self.members[name].process
        assert process is not None
        process.terminate()

    def prints(self, name: str, text: bytes) -> None:
        """Wait until one has printed this."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.members[name].printed():
            assert time.monotonic() < deadline, self.members[name].tail(0)
            time.sleep(0.02)  # there is nothing to await: only its log tells

    def ended(self, name: str) -> int:
        """Wait for its end; the exit code."""
        process = self.members[name].process
        assert process is not None
        return process.wait(PATIENCE)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    yield started
    for member in started.members.values():
        assert member.process is not None
        member.process.kill()
        member.process.wait()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        yield session


def clean_environment() -> dict[str, str]:
    """This run's, without what would change an example."""
    changing = {"FLEETLM_WEBHOOK_SECRET", "MODEL", "STUB_API_KEY"}
    return {name: value for name, value in os.environ.items() if name not in changing}


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


async def answer(http: aiohttp.ClientSession, url: str, body: Any, *secrets: str) -> Any:
    """Call it; the JSON that it answers."""
    data, headers = signed(body, *secrets)
    async with http.post(url, data=data, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "application/json"), await response.text()
        return await response.json()


async def status(http: aiohttp.ClientSession, url: str, data: bytes, headers: dict[str, str]) -> int:
    async with http.post(url, data=data, headers=headers) as response:
        return response.status


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """What a stream of Server-Sent Events says, up to its `[DONE]` or its end."""
    assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
    async for line in response.content:
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").strip()
            yield data.decode() if data == b"[DONE]" else json.loads(data)


# Alone


@pytest.mark.parametrize("name", ["plain_agent", "node_agent"])
async def test_it_answers_what_is_new(running: Running, http: aiohttp.ClientSession, name: str) -> None:
    url = running.start(name)
    conversation = [
        said(1, ALICE, "long ago"),
        said(2, AGENT, "You said: long ago"),
        said(3, ALICE, "hello"),
        said(4, AGENT, "one moment"),
        said(5, ALICE, "thére 🚚"),
    ]
    answered = await answer(http, url, call(*conversation, new_from_seq=3), generate_secret())
    assert answered == {"text": "You said: hello thére 🚚"}


async def all_text(http: aiohttp.ClientSession, url: str, body: Any, secret: str) -> str:
    """What it says, streamed or not."""
    data, headers = signed(body, secret)
    async with http.post(url, data=data, headers=headers) as response:
        if response.content_type == "text/event-stream":
            chunks = [chunk async for chunk in events(response)]
            return "".join(chunk["delta"] for chunk in chunks if "delta" in chunk)
        assert response.status == 200
        return str((await response.json())["text"])


@pytest.mark.parametrize(
    "name", ["plain_agent", "node_agent", "streaming_agent", "verifying_agent", "echo_agent"]
)
async def test_it_answers_nothing_that_nobody_has_said(
    running: Running, http: aiohttp.ClientSession, name: str
) -> None:
    secret = generate_secret()
    url = running.start(name, FLEETLM_WEBHOOK_SECRET=secret)
    notice, redaction = said(2, "system", "bob has taken over.", "system"), said(3, ALICE, "", "redaction")
    mixed = call(said(1, ALICE, "hello"), notice, redaction, new_from_seq=1)
    text = await all_text(http, url, mixed, secret)
    assert text.split() == [*text.split()[:-1], "hello"]
    if name != "echo_agent":  # that one always answers the newest that was said
        assert await all_text(http, url, call(said(1, ALICE, "hello"), notice, redaction), secret) == ""


@pytest.mark.parametrize("name", ["node_agent", "verifying_agent"])
async def test_it_takes_only_what_was_signed(
    running: Running, http: aiohttp.ClientSession, name: str
) -> None:
    secret, other = generate_secret(), generate_secret()
    url = running.start(name, FLEETLM_WEBHOOK_SECRET=secret)

    # Both secrets sign while one is being rotated, in whatever order.
    for secrets in ([secret], [secret, other], [other, secret]):
        assert await status(http, url, *signed(ONE_QUESTION, *secrets)) == 200
    data, headers = signed(ONE_QUESTION, secret)
    unsigned = {name: value for name, value in headers.items() if not name.startswith("webhook-")}
    old, future = (signed(ONE_QUESTION, secret, age=timedelta(minutes=age))[1] for age in (6, -6))
    garbage = [{**headers, "webhook-signature": text} for text in ("v1", "v1,", "v1,%", "v2,AAAA", "x y,z")]
    assert await status(http, url, *signed(ONE_QUESTION, other)) == 401
    assert await status(http, url, data.replace(b"hello", b"jello"), headers) == 401
    for bad in (unsigned, old, future, *garbage, {**headers, "webhook-timestamp": "now"}):
        assert await status(http, url, data, bad) == 401, bad


async def test_one_process_serves_agents_with_different_secrets(
    running: Running, http: aiohttp.ClientSession
) -> None:
    secrets = [generate_secret(), generate_secret()]
    url = running.start("verifying_agent", FLEETLM_WEBHOOK_SECRET=" ".join(secrets))
    for secret in secrets:
        assert await status(http, url, *signed(ONE_QUESTION, secret)) == 200
    assert await status(http, url, *signed(ONE_QUESTION, generate_secret())) == 401


async def test_a_call_that_comes_again_gets_its_answer_again(
    running: Running, http: aiohttp.ClientSession
) -> None:
    secret = generate_secret()
    url = running.start("verifying_agent", FLEETLM_WEBHOOK_SECRET=secret)
    first = call(said(1, ALICE, "a pizza"))
    again = {**first, "run_id": call(said(1, ALICE, ""))["run_id"]}  # new at every attempt
    at_once = await asyncio.gather(*(answer(http, url, again, secret) for _ in range(10)))
    assert [each["text"] for each in at_once] == ["Order 1: a pizza"] * 10
    second = call(said(1, ALICE, "a pizza"), said(2, AGENT, "Order 1"), said(3, ALICE, "salad"))
    assert (await answer(http, url, second, secret))["text"] == "Order 2: salad"
    assert (await answer(http, url, first, secret))["text"] == "Order 1: a pizza"


async def test_work_that_failed_is_tried_again(running: Running, http: aiohttp.ClientSession) -> None:
    secret = generate_secret()
    url = running.start("verifying_agent", FLEETLM_WEBHOOK_SECRET=secret)
    good = call(said(1, ALICE, "a pizza"))
    broken = {name: value for name, value in good.items() if name != "conversation"}
    with pytest.raises(aiohttp.ClientError):
        await answer(http, url, broken, secret)
    assert (await answer(http, url, good, secret))["text"] == "Order 1: a pizza"


def test_without_a_secret_it_says_what_is_missing() -> None:
    started = subprocess.run(
        [sys.executable, "agent.py"],
        cwd=EXAMPLES / "verifying_agent",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert started.returncode == 1
    assert "FLEETLM_WEBHOOK_SECRET" in started.stderr


async def test_it_streams_word_by_word(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("streaming_agent")
    data, headers = signed(ONE_QUESTION, generate_secret())
    seen, times = [], []
    async with http.post(url, data=data, headers=headers) as response:
        async for chunk in events(response):
            seen.append(chunk)
            times.append(time.monotonic())
    assert seen == [
        {"type": "start"},
        {"type": "text-start", "id": "1"},
        *(
            {"type": "text-delta", "id": "1", "delta": word}
            for word in ("You ", "said: ", "hello ", "there ")
        ),
        {"type": "text-end", "id": "1"},
        {"type": "finish"},
        "[DONE]",
    ]
    assert times[5] - times[2] > 0.1, "the words come one after the other, not all at the end"


async def test_it_stops_when_its_caller_hangs_up(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("streaming_agent")
    data, headers = signed(call(said(1, ALICE, "word " * 500)), generate_secret())
    async with http.post(url, data=data, headers=headers) as response:
        async for chunk in events(response):
            if chunk["type"] == "text-delta":
                break
        response.close()
    await asyncio.wait_for(asyncio.to_thread(running.prints, "streaming_agent", b"stopped"), PATIENCE)
    assert b"Traceback" not in running.members["streaming_agent"].printed()


async def test_an_answer_under_way_outlives_sigterm(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("streaming_agent")
    data, headers = signed(ONE_QUESTION, generate_secret())
    async with http.post(url, data=data, headers=headers) as response:
        seen = []
        async for chunk in events(response):
            if not seen:
                running.terminate("streaming_agent")
            seen.append(chunk)
    assert seen[-2:] == [{"type": "finish"}, "[DONE]"]
    assert await asyncio.to_thread(running.ended, "streaming_agent") == 0


async def test_pydantic_ai_speaks_ag_ui(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("pydantic_ai_agent")

    async def run(*texts: str) -> list[dict[str, Any]]:
        roles = ("user", "assistant")
        messages = [
            {"id": f"m{n}", "role": roles[n % 2], "content": text, **({} if n % 2 else {"name": "Alice"})}
            for n, text in enumerate(texts)
        ]
        body = {"threadId": "alice:shipping-bot:epoch", "runId": "run-1", "messages": messages}
        body |= {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
        data, headers = signed({"id": "call-1", **body}, generate_secret())
        async with http.post(url, data=data, headers={**headers, "accept": "text/event-stream"}) as response:
            return [event async for event in events(response)]

    plain = await run("hello", "You said: hello", "and now?")
    assert (plain[0]["type"], plain[-1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")
    assert [event["delta"] for event in plain if event["type"] == "TEXT_MESSAGE_CONTENT"] == [
        *("You ", "said: ", "and ", "now? ")
    ]
    with_tool = await run("what time is it?")
    assert [event["toolCallName"] for event in with_tool if event["type"] == "TOOL_CALL_START"] == ["clock"]
    result = next(event["content"] for event in with_tool if event["type"] == "TOOL_CALL_RESULT")
    told = "".join(event["delta"] for event in with_tool if event["type"] == "TEXT_MESSAGE_CONTENT")
    assert re.fullmatch(r"\d\d:\d\d UTC", result)
    assert told.strip() == f"It is {result}."


CHAT = {
    "model": "any",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}],
}
KEY = {"authorization": f"Bearer {STUB_KEY}"}


async def test_the_stub_answers_whole(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("openai_stub") + "v1/chat/completions"
    async with http.post(url, json=CHAT, headers=KEY) as response:
        whole = await response.json()
    assert (whole["object"], whole["model"]) == ("chat.completion", "any")
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "You said: hello there"}
    assert whole["choices"][0]["finish_reason"] == "stop"


async def test_the_stub_streams(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("openai_stub") + "chat/completions"
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    async with http.post(url, json=asked, headers=KEY) as response:
        *chunks, usage, done = [chunk async for chunk in events(response)]
    assert [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks] == [
        *("", "You ", "said: ", "hello ", "there ", "")
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["stop"]
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 4, "[DONE]")


async def test_the_stub_refuses_as_openai_does(running: Running, http: aiohttp.ClientSession) -> None:
    url = running.start("openai_stub")
    for path, headers, body, expected, code in (
        ("chat/completions", {}, CHAT, 401, "invalid_api_key"),
        ("chat/completions", {"authorization": "Bearer nö"}, CHAT, 401, "invalid_api_key"),
        ("chat/completions", KEY, {"model": "any"}, 400, None),
        ("completions", KEY, CHAT, 404, None),
    ):
        async with http.post(url + path, json=body, headers=headers) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (expected, code)


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_cleanly(running: Running, name: str) -> None:
    running.start(name, FLEETLM_WEBHOOK_SECRET=generate_secret())
    running.terminate(name)
    # uvicorn ends by the signal that it has handled, as a Unix program may.
    assert running.ended(name) in ((0, -signal.SIGTERM) if name == "pydantic_ai_agent" else (0,))
    assert b"Traceback" not in running.members[name].printed()


# The snippets of docs/agents.md


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_documented_verification_works(language: str) -> None:
    page = blocks(ROOT / "docs/agents.md", ROOT)
    (snippet,) = [block.text for block in page if block.language == language]
    secret = generate_secret()
    body, headers = signed(ONE_QUESTION, secret, generate_secret())
    given = [
        {"body": body.decode(), "headers": headers},
        {"body": body.decode() + " ", "headers": headers},
        {"body": body.decode(), "headers": {**headers, "webhook-signature": "v1"}},
        {"body": body.decode(), "headers": {}},
    ]
    if language == "python":
        program = [sys.executable, "-c", f"{snippet}{PYTHON_HARNESS}"]
    else:
        program = [node(), "--input-type=module", "--eval", f"{snippet}{NODE_HARNESS}"]
    done = subprocess.run(
        program,
        cwd=HERE,
        env={**clean_environment(), "FLEETLM_WEBHOOK_SECRET": secret},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [ONE_QUESTION["id"], None, None, None]


PYTHON_HARNESS = """
import json, sys
calls = [verified(each["body"].encode(), each["headers"]) for each in json.load(sys.stdin)]
print(json.dumps([call and call["id"] for call in calls]))
"""
NODE_HARNESS = """
const { readFileSync } = await import("node:fs");
const given = JSON.parse(readFileSync(0));
console.log(JSON.stringify(given.map(({ body, headers }) => verified(Buffer.from(body), headers)?.id ?? null)));
"""


# The whole way

REGISTRATION: dict[str, dict[str, Any]] = {
    "pydantic_ai_agent": {"dialect": "ag-ui"},
    "openai_stub": {"dialect": "openai", "api_key": STUB_KEY, "options": {"model": "stub"}},
}
SAID = {"verifying_agent": "Order 1: hello there"}


@pytest.mark.parametrize("name", NAMES)
async def test_it_answers_people(stack: Stack, api: Api, running: Running, fresh: str, name: str) -> None:
    agent, port = f"bot-{fresh}", free_port(HOST)
    path = "v1" if name == "openai_stub" else ""
    registration = {"id": agent, "url": f"http://{HOST}:{port}/{path}", **REGISTRATION.get(name, {})}
    registered = await api.call("POST", "agents", registration)
    running.start(name, port=port, FLEETLM_WEBHOOK_SECRET=registered["secret"])
    key = f"{ALICE}-{fresh}:{agent}"
    await api.send(key, f"{ALICE}-{fresh}", "hello there")
    page = await api.call("GET", f"conversations/{key}/messages?after=1&wait=20")
    assert [(message["sender_id"], message["text"].strip()) for message in page["messages"]] == [
        (agent, SAID.get(name, "You said: hello there"))
    ], running.members[name].tail(0)


async def test_a_framework_s_tool_calls_are_kept(
    stack: Stack, api: Api, running: Running, fresh: str
) -> None:
    agent, url = f"bot-{fresh}", running.start("pydantic_ai_agent")
    await api.call("POST", "agents", {"id": agent, "url": url, "dialect": "ag-ui"})
    key = f"{ALICE}-{fresh}:{agent}"
    await api.send(key, f"{ALICE}-{fresh}", "what time is it?")
    page = await api.call("GET", f"conversations/{key}/messages?after=1&wait=20")
    (message,) = page["messages"]
    (tool,) = [part for part in message["content"]["parts"] if part["type"] == "tool-clock"]
    assert (tool["state"], tool["input"]) == ("output-available", {})
    assert message["text"].strip() == f"It is {tool['output']}."
