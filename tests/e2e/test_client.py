"""`manage.py client` against a real server: programs over pipes, and a server that is killed under them."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import pytest
from asgiref.sync import sync_to_async

from fleetlm.auth.keys import make_key
from fleetlm.config import PROJECT_ROOT
from runtime.client.server import Server
from runtime.ports import free_port
from tests.e2e.stack import Stack

PATIENCE = 60.0
Line = dict[str, Any]


class Web:
    """A server process on a port of its own, and clients of it."""

    def __init__(self, token: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self.process: Process | None = None
        self.clients: list[Process] = []

    async def start(self) -> None:
        environment = {**os.environ, "PORT": str(self.port), "FLEETLM_LOG_LEVEL": "WARNING"}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "manage.py", "serve", cwd=PROJECT_ROOT, env=environment, stderr=PIPE
        )
        async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE):
            while not await _is_ready(http, f"{self.url}/health/ready"):
                assert self.process.returncode is None
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()

    async def client(self, *arguments: str, token: str | None = None) -> Process:
        environment = {**os.environ, "PORT": str(self.port), "FLEETLM_TOKEN": token or self.token}
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "manage.py", "client", *arguments),
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        self.clients.append(client)
        return client

    async def run(
        self, *arguments: str, given: str = "", token: str | None = None
    ) -> tuple[int | None, list[Line], list[Line]]:
        """Run a client to its end: exit code, JSON lines of its output, JSON lines of its errors."""
        client = await self.client(*arguments, token=token)
        async with asyncio.timeout(PATIENCE):
            output, errors = await client.communicate(given.encode())
        return client.returncode, _lines(output), _lines(errors)


def _lines(output: bytes) -> list[Line]:
    return [json.loads(line) for line in output.splitlines()]


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def read_lines(client: Process, count: int) -> list[Line]:
    assert client.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return [json.loads(await client.stdout.readline()) for _ in range(count)]


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    _, token = await sync_to_async(make_key)("client tests", ["read", "write"])
    web = Web(token)
    await web.start()
    yield web
    for client in web.clients:
        if client.returncode is None:
            client.kill()
            await client.communicate()
    await web.kill()


@pytest.fixture
def people() -> tuple[str, str, str]:
    """Two people and the key of their dm."""
    alice, bob = f"alice-{uuid4().hex[:8]}", f"bob-{uuid4().hex[:8]}"
    return alice, bob, f"{alice}:{bob}"


async def test_sending_reading_and_errors(web: Web, people: tuple[str, str, str]) -> None:
    alice, bob, key = people
    code, (sent,), _ = await web.run("send", key, "--as", alice, "--client-id", "once", "hello")
    assert (code, sent["seq"], sent["sender_id"], sent["text"]) == (0, 1, alice, "hello")
    _, (again,), _ = await web.run("send", key, "--as", alice, "--client-id", "once", "hello")
    assert (again["id"], again["deduplicated"]) == (sent["id"], True)
    await web.run("send", key, "--as", bob, "-", given="from\na pipe")

    code, log, _ = await web.run("history", key, "--as", alice, "--limit", "1000")
    assert (code, [one["text"] for one in log]) == (0, ["hello", "from\na pipe"])
    code, (entry,), _ = await web.run("inbox", "--as", alice)
    assert (code, entry["key"], entry["unread_count"]) == (0, key, 1)

    for arguments in (("history", "nope"), ("tail", "nope"), ("send", "nope", "text")):
        code, output, (error,) = await web.run(*arguments, "--as", alice)
        assert (code, output) == (1, [])
        assert error["error"]["code"] in ("conversation_not_found", "not_a_member")
    code, _, (error,) = await web.run("tail", key, "--as", alice, token="flk_wrong")
    assert (code, error["error"]["code"]) == (1, "not_authenticated")


async def test_a_program_talks_over_pipes(web: Web, people: tuple[str, str, str]) -> None:
    alice, bob, key = people
    given = 'plain text\n\n{"text": "a message", "metadata": {"n": 1}}\n{"text": 7}\nlast'
    code, output, (error,) = await web.run("chat", key, "--as", alice, given=given)
    assert (code, error["error"]["code"]) == (1, "invalid_request")
    assert [one["text"] for one in output] == ["plain text", "a message", "last"]
    assert output[1]["metadata"] == {"n": 1}

    code, output, errors = await web.run("chat", key, "--as", bob, "--last", "2", "--wait", "0.2", given="hi")
    assert (code, errors) == (0, [])
    assert [one["text"] for one in output] == ["a message", "last", "hi"]


async def test_a_program_gets_the_answer_to_its_last_line(stack: Stack, fresh: str) -> None:
    web = Web("")
    web.port = urlsplit(stack.web[0]).port or 0
    person = f"alice-{fresh}"
    code, output, errors = await web.run("chat", f"{person}:echo-bot", "--as", person, given="one\n")
    assert (code, errors) == (0, [])
    assert [(one["sender_id"], one["text"]) for one in output] == [
        (person, "one"),
        ("echo-bot", "You said: one"),
    ]
    code, output, _ = await web.run(
        "chat", f"{person}:echo-bot", "--as", person, "--last", "0", given="a\nb\nc"
    )
    assert code == 0
    assert (output[-1]["sender_id"], output[-1]["text"]) == ("echo-bot", "You said: c")


async def test_a_tail_misses_and_repeats_nothing_when_the_server_is_killed(
    web: Web, people: tuple[str, str, str]
) -> None:
    alice, bob, key = people
    async with aiohttp.ClientSession() as http:
        server = Server(http, web.url, alice, web.token)
        await server.send(key, {"text": "1"})
        tail = await web.client("tail", key, "--as", bob, "--after", "0")
        seen = await read_lines(tail, 1)
        for text in map(str, range(2, 302)):
            if text in ("100", "200"):
                await web.kill()
                restarting = asyncio.create_task(web.start())
            await server.send(key, {"text": text})
        await restarting
        seen += await read_lines(tail, 300)
    assert [(one["seq"], one["text"]) for one in seen] == [(n, str(n)) for n in range(1, 302)]


async def test_an_inbox_is_followed(web: Web, people: tuple[str, str, str]) -> None:
    alice, bob, key = people
    await web.run("send", key, "--as", alice, "one")
    inbox = await web.client("inbox", "--as", bob, "--follow")
    (entry,) = await read_lines(inbox, 1)
    assert (entry["key"], entry["unread_count"]) == (key, 1)
    await web.run("send", key, "--as", alice, "two")
    (entry,) = await read_lines(inbox, 1)
    assert (entry["unread_count"], entry["last_message"]["text"]) == (2, "two")


async def test_whoever_stops_reading_ends_it_quietly(web: Web, people: tuple[str, str, str]) -> None:
    alice, _, key = people
    for text in ("one", "two"):
        await web.run("send", key, "--as", alice, text)
    shell = await asyncio.create_subprocess_shell(
        f"{sys.executable} manage.py client history {key} --as {alice} | true",
        cwd=PROJECT_ROOT,
        env={**os.environ, "PORT": str(web.port), "FLEETLM_TOKEN": web.token},
        stderr=PIPE,
    )
    _, errors = await shell.communicate()
    assert errors == b""
