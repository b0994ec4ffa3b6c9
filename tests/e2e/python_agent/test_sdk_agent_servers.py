"""The agent helper under four servers, called by FleetLM."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agents.signing import generate_secret
from runtime.ports import free_port
from runtime.program import Program
from tests.e2e.calls import ALICE, call, said, signed
from tests.e2e.event_stream import event_stream
from tests.e2e.rest import Api, Refused
from tests.e2e.stack import HOST, ROOT, Member, Stack
from tests.e2e.test_examples import clean_environment, listens
from tests.e2e.test_streaming import ended, screen

PATIENCE = 20.0
SERVERS = ("run", "uvicorn", "wsgiref", "gunicorn")
PROGRAM = "tests.e2e.python_agent.program"


class Bot:
    """An agent of this test's own, registered with the stack."""

    def __init__(self, api: Api, fresh: str, directory: Path) -> None:
        self.api = api
        self.name, self.alice = f"bot-{fresh}", f"alice-{fresh}"
        self.key = f"{self.alice}:{self.name}"
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}/"
        self.secret = ""
        self._directory = directory
        self._member: Member | None = None

    async def start(self, server: str, **form: Any) -> None:
        """Register it, and serve it with the secret that came of that."""
        made = await self.api.call("POST", "agents", {"id": self.name, "url": self.url, **form})
        self.secret = made["secret"]
        program = Program(
            name=server,
            command=[sys.executable, *command(server, self.port)],
            directory=ROOT,
            environment={
                **clean_environment(),
                "FLEETLM_WEBHOOK_SECRET": self.secret,
                "PYTHONPATH": str(ROOT / "clients/python/src"),
                "PYTHONUNBUFFERED": "1",
            },
            log=self._directory / f"{server}.log",
        )
        self._member = Member(program, lambda: listens(self.port))
        await asyncio.to_thread(self._member.start)

    @property
    def member(self) -> Member:
        assert self._member is not None
        return self._member

    def stop(self) -> None:
        if self._member is not None and self._member.process is not None:
            self._member.process.terminate()
            self._member.process.wait(PATIENCE)

    async def say(self, text: str) -> None:
        await self.api.send(self.key, self.alice, text)

    async def answer(self, seq: int = 2) -> dict[str, Any]:
        """The message with this seq, once it is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                path = f"conversations/{self.key}/messages?after={seq - 1}&wait=5"
                if (page := await self.api.call("GET", path))["messages"]:
                    message: dict[str, Any] = page["messages"][0]
                    return message

    async def printed(self, text: str) -> None:
        """Wait until it has printed this."""

        def look() -> None:
            deadline = time.monotonic() + PATIENCE
            while text.encode() not in self.member.printed():
                assert time.monotonic() < deadline, self.member.tail(0)
                time.sleep(0.02)  # there is nothing to await: only its log tells

        await asyncio.to_thread(look)


def command(server: str, port: int) -> list[str]:
    if server == "gunicorn":
        options = [
            "--worker-class",
            "gthread",
            "--threads",
            "8",
            "--bind",
            f"{HOST}:{port}",
            "--no-control-socket",
        ]
        return ["-m", "gunicorn", *options, f"{PROGRAM}:wsgi"]
    return ["-m", PROGRAM, server, str(port)]


@pytest.fixture
def bot(stack: Stack, api: Api, fresh: str, tmp_path: Path) -> Iterator[Bot]:
    bot = Bot(api, fresh, tmp_path)
    yield bot
    bot.stop()


@pytest.mark.parametrize("server", SERVERS)
async def test_it_answers(bot: Bot, server: str) -> None:
    await bot.start(server)
    await bot.say("grüße 🚚")
    assert (await bot.answer())["text"] == "You said: grüße 🚚"
    await bot.say("tools please")
    message = await bot.answer(4)
    assert message["text"] == "Let me look.\n\nIt is noon."
    tool = next(part for part in message["content"]["parts"] if part.get("toolCallId") == "t1")
    assert (tool["input"], tool["output"], message["content"]["status"]) == (
        {"zone": "UTC"},
        "noon",
        "complete",
    )
    assert (await bot.api.call("POST", f"agents/{bot.name}/test"))["outcome"] == "answered"
    assert bot.member.printed().count(b"called") == 2, "the test call is none for the handler"


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("script", "closed"), [("story", "the story is closed"), ("steps", "the steps are closed")]
)
async def test_a_cancel_closes_the_generator(
    stack: Stack, bot: Bot, server: str, script: str, closed: str, curl: str
) -> None:
    await bot.start(server)
    await bot.say("hello")
    await bot.answer()
    async with event_stream(f"{stack.web[1]}/api/conversations/{bot.key}/events") as watching:
        await watching.event("ready")
        await bot.say(script)
        await watching.until(lambda: any("1 2 3 " in text for text in screen(watching).now.values()))
        [run] = (await bot.api.call("GET", f"conversations/{bot.key}/runs"))["runs"]
        await bot.api.call("POST", f"conversations/{bot.key}/runs/{run['run_id']}/cancel")
        await ended(watching, "cancelled")
        await bot.printed(closed)
    message = await bot.answer(4)
    assert message["text"].startswith("Once 0 1 2 3")
    assert message["content"]["status"] == "cancelled"
    await bot.say("and now?")
    assert (await bot.answer(6))["text"] == "You said: and now?"
    assert b"Traceback" not in bot.member.printed()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_call_that_comes_again_is_worked_on_once(bot: Bot, server: str) -> None:
    await bot.start(server)
    order = call(said(1, ALICE, "order a pizza"))
    first, again = signed(order, bot.secret), signed({**order, "run_id": "another"}, bot.secret)
    ten = signed(call(said(1, ALICE, "ten")), bot.secret)
    async with aiohttp.ClientSession() as http:
        at_once = await asyncio.gather(
            *(post(http, bot.url, *again) for _ in range(5)), post(http, bot.url, *first)
        )
        assert {json.loads(body)["text"] for body in at_once} == {"Order 1"}
        other = json.loads(await post(http, bot.url, *signed(call(said(1, ALICE, "order")), bot.secret)))
        assert other["text"] == "Order 2"
        streams = await asyncio.gather(*(post(http, bot.url, *ten) for _ in range(3)))
        streams.append(await post(http, bot.url, *ten))
        assert len(set(streams)) == 1
        assert streams[0].endswith(b'{"type":"finish"}\n\ndata: [DONE]\n\n')
    assert bot.member.printed().count(b"called") == 3


async def post(http: aiohttp.ClientSession, url: str, data: bytes, headers: dict[str, str]) -> bytes:
    async with http.post(url, data=data, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


@pytest.mark.parametrize("server", SERVERS)
async def test_only_what_fleetlm_has_signed_is_taken(bot: Bot, server: str) -> None:
    await bot.start(server)
    body = call(said(1, ALICE, "hello"))
    data, headers = signed(body, bot.secret)
    unsigned = {name: value for name, value in headers.items() if not name.startswith("webhook-")}
    attempts = [
        (data, headers, 200),
        (data, unsigned, 401),
        (data + b" ", headers, 401),
        (*signed(body, generate_secret()), 401),
        (*signed({"agent_id": "bot", "id": "1"}, bot.secret), 400),
    ]
    async with aiohttp.ClientSession() as http:
        for given, with_headers, status in attempts:
            async with http.post(bot.url, data=given, headers=with_headers) as response:
                assert response.status == status, await response.text()
                assert response.content_type == "application/json"
        async with http.get(bot.url) as response:
            assert response.status == 405
    assert bot.member.printed().count(b"called") == 1


@pytest.mark.parametrize("server", SERVERS)
async def test_what_has_failed_is_called_again(bot: Bot, server: str) -> None:
    await bot.start(server)
    await bot.say("fail please")
    assert (await bot.answer())["text"] == "at last"
    assert b"RuntimeError: not yet" in bot.member.printed()


@pytest.mark.parametrize("server", ["run", "gunicorn"])
async def test_one_that_is_gone_is_disabled(stack: Stack, bot: Bot, server: str, curl: str) -> None:
    await bot.start(server)
    await bot.say("hello")
    await bot.answer()
    async with event_stream(f"{stack.web[0]}/api/conversations/{bot.key}/events") as watching:
        await watching.event("ready")
        await bot.say("gone")
        await ended(watching, "failed")
    assert (await bot.api.call("GET", f"agents/{bot.name}"))["enabled"] is False


@pytest.mark.parametrize("server", ["run", "uvicorn", "gunicorn"])
async def test_sigterm_lets_an_answer_come_to_its_end(bot: Bot, server: str) -> None:
    await bot.start(server)
    data, headers = signed(call(said(1, ALICE, "ten")), bot.secret)
    process = bot.member.process
    assert process is not None
    async with aiohttp.ClientSession() as http, http.post(bot.url, data=data, headers=headers) as response:
        await response.content.readline()
        process.send_signal(signal.SIGTERM)
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    began = time.monotonic()
    assert await asyncio.to_thread(process.wait, PATIENCE) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5
    assert b"Traceback" not in bot.member.printed()


async def test_another_secret_is_said_in_the_attempts(bot: Bot) -> None:
    await bot.start("run")
    await bot.api.call("POST", f"agents/{bot.name}/rotate-secret", {"overlap_seconds": 0})
    test = await bot.api.call("POST", f"agents/{bot.name}/test")
    assert (test["outcome"], test["status"]) == ("refused", 401)
    with pytest.raises(Refused):
        await bot.api.call("GET", "agents/nobody-of-this-name")
