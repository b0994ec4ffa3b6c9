"""Test calls: a real agent gets them from the web process, and what it does is told, never raised."""

import asyncio
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from conversations.models import Conversation, Message
from runtime import ping as pings
from runtime.database import in_thread
from tests.integration.raw_agent import Behaviour, Talk, answering, head, raw_agent, response
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

SSE = {"content_type": "text/event-stream"}
HELLO = b'data: {"choices": [{"delta": {"content": "pong"}}]}\n\ndata: [DONE]\n\n'


class Recorder:
    """An agent that keeps what it is sent."""

    def __init__(self, answer: bytes) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self._answer = answer

    async def __call__(self, talk: Talk) -> None:
        while True:
            self.requests.append(await talk.request())
            await talk.send(self._answer)


async def register(api: Client, url: str, **form: Any) -> tuple[str, str]:
    """A new agent there: the path of its test call, and its secret."""
    made = await asyncio.to_thread(api.ok, "POST", "/api/agents", {"id": unique("agent"), "url": url, **form})
    return f"/api/agents/{made['id']}/test", made["secret"]


async def ping(api: Client, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncio.to_thread(api.ok, "POST", path)
    assert 0 <= answer["duration_ms"] < 10_000
    return answer


async def ping_at(api: Client, behaviour: Behaviour, **form: Any) -> dict[str, Any]:
    async with raw_agent(behaviour) as agent:
        path, _ = await register(api, agent.url, **form)
        return await ping(api, path)


async def test_a_webhook_agent_gets_a_signed_ping(api: Client) -> None:
    agent = Recorder(response(b'{"text": "pong"}'))
    async with raw_agent(agent) as listening:
        path, secret = await register(api, listening.url, api_key="sk-1", headers={"X-Tenant": "acme"})
        answer = await ping(api, path)
    assert answer.items() >= {"ok": True, "outcome": "answered", "status": 200, "error": ""}.items()
    assert answer["response"] == '{"text": "pong"}'
    [(headers, body)] = agent.requests
    assert (headers["authorization"], headers["x-tenant"]) == ("Bearer sk-1", "acme")
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    call = json.loads(body)
    assert (call["type"], call["id"], path) == (
        "ping",
        headers["webhook-id"],
        f"/api/agents/{call['agent_id']}/test",
    )


async def test_a_subscription_gets_a_signed_ping(api: Client) -> None:
    agent = Recorder(response(status="204 No Content"))
    async with raw_agent(agent) as listening:
        form = {"event": "message.created", "url": listening.url, "key_prefix": unique(), "api_key": "sk-2"}
        made = await asyncio.to_thread(api.ok, "POST", "/api/subscriptions", form)
        answer = await ping(api, f"/api/subscriptions/{made['id']}/test")
    assert answer.items() >= {"ok": True, "outcome": "accepted", "status": 204}.items()
    [(headers, body)] = agent.requests
    assert headers["authorization"] == "Bearer sk-2"
    call = Webhook(made["secret"]).verify(body, headers)
    assert (call["type"], call["subscription_id"]) == ("ping", made["id"])


async def test_a_rotated_endpoint_signs_with_both_secrets(api: Client) -> None:
    agent = Recorder(response())
    async with raw_agent(agent) as listening:
        path, old = await register(api, listening.url)
        rotated = await asyncio.to_thread(api.ok, "POST", path.replace("/test", "/rotate-secret"))
        await ping(api, path)
    [(headers, body)] = agent.requests
    for secret in (old, rotated["secret"]):
        Webhook(secret).verify(body, headers)


async def test_a_model_is_asked_and_its_answer_is_not_stored(api: Client) -> None:
    agent = Recorder(response(HELLO, **SSE))
    conversations = await in_thread(Conversation.objects.count)
    messages = await in_thread(Message.objects.count)
    async with raw_agent(agent) as listening:
        options = {"model": "small", "extra": {"n": 1e308}}
        path, _ = await register(api, listening.url, dialect="openai", options=options, api_key="sk-3")
        answer = await ping(api, path)
    assert answer.items() >= {"ok": True, "outcome": "answered", "status": 200}.items()
    assert answer["response"] == HELLO.decode()
    [(headers, body)] = agent.requests
    assert headers["authorization"] == "Bearer sk-3"
    assert json.loads(body)["messages"] == [{"role": "user", "content": "ping", "name": "ping"}]
    assert await in_thread(Conversation.objects.count) == conversations
    assert await in_thread(Message.objects.count) == messages


async def test_an_ag_ui_agent_is_asked(api: Client) -> None:
    events = (
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"},
    )
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    answer = await ping_at(api, answering(response(body, **SSE)), dialect="ag-ui")
    assert answer.items() >= {"ok": True, "outcome": "answered"}.items()


@pytest.mark.parametrize(
    ("behaviour", "form", "outcome", "status"),
    [
        (answering(response(b"no such secret", "401 Unauthorized")), {}, "refused", 401),
        (answering(response(b"elsewhere", "302 Found", location="http://127.0.0.1:1/")), {}, "refused", 302),
        (answering(b"SSH-2.0-OpenSSH_9.9\r\n"), {}, "invalid_answer", None),
        (answering(response(b"busy", "503 Busy")), {"dialect": "openai"}, "refused", 503),
        (answering(response(b"<p>no")), {"dialect": "openai"}, "invalid_answer", 200),
        (answering(response(b"{}")), {"dialect": "ag-ui"}, "invalid_answer", 200),
        (
            answering(response(b'data: {"type": "RUN_ERROR", "message": "no"}\n\n', **SSE)),
            {"dialect": "ag-ui"},
            "failed",
            200,
        ),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_an_agent_does_wrong_is_told(
    api: Client, behaviour: Behaviour, form: dict[str, Any], outcome: str, status: int | None
) -> None:
    answer = await ping_at(api, behaviour, **form)
    assert (answer["ok"], answer["outcome"], answer["status"]) == (False, outcome, status)
    assert answer["error"]


async def test_what_a_refusing_agent_says_is_shown_in_part(api: Client) -> None:
    answer = await ping_at(api, answering(response(b"\xff\0" + b"x" * 100_000, "500 Broken")))
    assert answer["response"].startswith("\ufffd\0x")
    assert len(answer["response"]) == pings.RESPONSE_BYTES


async def test_an_agent_that_hangs_up_or_is_not_there_is_unreachable(api: Client) -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.request()

    assert (await ping_at(api, hang_up))["outcome"] == "unreachable"
    async with raw_agent(hang_up) as agent:
        gone = agent.url
    path, _ = await register(api, gone)
    assert (await ping(api, path))["outcome"] == "unreachable"


async def test_an_agent_that_is_slow_is_not_waited_for(api: Client) -> None:
    async def sleep(talk: Talk) -> None:
        await talk.request()
        await talk.hung_up()

    answer = await ping_at(api, sleep, timeout_seconds=1)
    assert (answer["ok"], answer["outcome"]) == (False, "timed_out")
    assert answer["duration_ms"] >= 1_000


async def test_a_stream_that_breaks_off_is_told(api: Client) -> None:
    async def break_off(talk: Talk) -> None:
        await talk.request()
        await talk.send(head(**SSE), b'data: {"choices": [{"delta": {"content": "po"}}]}\n\n')

    answer = await ping_at(api, break_off, dialect="openai")
    assert (answer["ok"], answer["outcome"], answer["status"]) == (False, "invalid_answer", 200)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/"]
)
async def test_an_address_that_may_not_be_called_is_not(api: Client, url: str) -> None:
    path, _ = await register(api, url)
    answer = await ping(api, path)
    assert answer.items() >= {"ok": False, "outcome": "blocked", "status": None, "response": ""}.items()
    assert "may not be called" in answer["error"]


async def test_a_disabled_agent_can_be_tested(api: Client) -> None:
    assert (await ping_at(api, answering(response(b'{"text": ""}')), enabled=False))["ok"]
