"""Streamed answers: relayed while they come, one message in the end, or the part of it that was said."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from asgiref.sync import sync_to_async
from pytest_django import Settings

from agents import registration, store
from conversations.models import Conversation, Message
from runtime.core import Runtime
from tests.integration.dispatcher.dispatching import (
    PATIENCE,
    Agent,
    Received,
    Reply,
    Talk,
    answer,
    dispatching,
)


def sse(*events: Any, then: asyncio.Event | None = None, rest: tuple[Any, ...] = ()) -> Reply:
    """Streams these events; then, if told to wait, the rest."""

    async def reply(received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(received.request)
        for event in events:
            await response.write(line(event))
        if then is not None:
            await then.wait()
        for event in rest:
            await response.write(line(event))
        return response

    return reply


def line(event: Any) -> bytes:
    return b"data: " + (event.encode() if isinstance(event, str) else orjson.dumps(event)) + b"\n\n"


def delta(text: str) -> dict[str, str]:
    return {"type": "text-delta", "id": "t", "delta": text}


START = {"type": "text-start", "id": "t"}
END = ({"type": "text-end", "id": "t"}, {"type": "finish"}, "[DONE]")


@sync_to_async
def last_message(talk: Talk) -> Message:
    return Message.objects.filter(conversation__key=talk.key).order_by("-seq")[0]


async def test_a_streamed_answer_becomes_one_message(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    tool = [
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "track", "input": {"order": 7}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": {"status": "sent"}},
    ]
    agent.replies = [sse(*tool, START, delta("Your order "), delta("is on its way."), *END)]
    await talk.say("where is it?")
    async with dispatching(runtime):
        await talk.settled(1)
    message = await last_message(talk)
    (attempt,) = await talk.attempts()
    assert (message.sender_id, message.text) == (agent.id, "Your order is on its way.")
    assert message.content["run_id"] == str(attempt.run_id)
    assert message.content["status"] == "complete"
    assert [part["type"] for part in message.content["parts"]] == ["tool-track", "text"]
    assert attempt.outcome == "answered"
    assert "Your order" in attempt.response
    assert '"text":"where is it?"' in attempt.request


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ((START, delta("half of it")), "invalid_answer"),
        ((START, delta("no"), {"type": "error", "errorText": "out of credit"}), "failed"),
        (("not json",), "invalid_answer"),
        ((START, delta("x" * 40_000)), "invalid_answer"),
        (({"type": "text-delta", "id": "never-started", "delta": "x"},), "invalid_answer"),
    ],
)
async def test_a_stream_that_breaks_leaves_nothing_and_is_retried(
    runtime: Runtime, agent: Agent, talk: Talk, events: tuple[Any, ...], outcome: str
) -> None:
    agent.replies = [sse(*events), sse(START, delta("whole"), *END)]
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    first, second = await talk.attempts()
    assert (first.outcome, second.outcome) == (outcome, "answered")
    assert first.run_id != second.run_id
    assert await talk.texts() == [(talk.user, "hello"), (agent.id, "whole")]


async def end_while_streaming(runtime: Runtime, agent: Agent, talk: Talk, end: Callable[[], Any]) -> Message:
    """Let the agent begin a stream that does not end, and end it from outside."""
    never = asyncio.Event()
    agent.replies = [sse(START, delta("as far as "), delta("here"), then=never), answer(204)]
    await talk.say("tell me everything")
    async with dispatching(runtime):
        await agent.wait_for_calls(1)
        await asyncio.sleep(0.1)  # the words travel; nothing tells when they have come
        await end()
        await talk.settled(1)
        return await last_message(talk)


async def test_a_cancelled_run_keeps_what_was_said(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    async def cancel() -> None:
        stream = await talk.stream()
        assert stream.run_id is not None
        async with runtime.pool.connection() as connection:
            assert await store.request_cancel(connection, stream.conversation_id, stream.run_id)

    message = await end_while_streaming(runtime, agent, talk, cancel)
    assert (message.sender_id, message.text) == (agent.id, "as far as here")
    assert message.content["status"] == "cancelled"
    assert [a.outcome for a in await talk.attempts()] == ["cancelled"]
    assert len(agent.calls) == 1


async def test_a_new_message_interrupts_an_agent_that_wants_it(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    await sync_to_async(registration.update_agent)(agent.id, while_running="interrupt")
    never = asyncio.Event()
    agent.replies = [sse(START, delta("as far as here"), then=never), answer(body={"text": "anew"})]
    await talk.say("tell me everything")
    async with dispatching(runtime) as dispatcher:
        await agent.wait_for_calls(1)
        await asyncio.sleep(0.1)  # the words travel; nothing tells when they have come
        await talk.say("no, stop")
        dispatcher.wake()
        await talk.settled(2)
    assert await talk.texts() == [
        (talk.user, "tell me everything"),
        (talk.user, "no, stop"),
        (agent.id, "as far as here"),
        (agent.id, "anew"),
    ]
    assert [a.outcome for a in await talk.attempts()] == ["interrupted", "answered"]
    assert [m["text"] for m in agent.calls[1].body["conversation"]][:2] == ["tell me everything", "no, stop"]


async def test_a_run_cancelled_before_it_says_anything_leaves_no_message(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    gone = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    agent.replies = [hang]
    await talk.say("hello")
    async with dispatching(runtime) as dispatcher:
        await agent.wait_for_calls(1)
        dispatcher.cancel(str((await talk.stream()).run_id))
        await talk.settled(1)
        await asyncio.wait_for(gone.wait(), PATIENCE)  # the agent sees the connection end
    assert await talk.texts() == [(talk.user, "hello")]


async def test_a_run_that_was_cancelled_while_its_dispatcher_died_is_not_made_again(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    await talk.say("hello")
    async with runtime.pool.connection() as connection:
        (stream,), _ = await store.claim_due_streams(
            connection, limit=1, held={}, lease_seconds=0.0, give_up_after=60, probe_pause_max=60
        )
        await store.request_cancel(connection, stream.conversation_id, stream.run_id)
    async with dispatching(runtime):
        await talk.settled(1)
    assert agent.calls == []


async def test_the_loop_guard_pauses_agents_that_talk_to_each_other(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_loop_limit": 3})
    await talk.say("hello")
    for number in range(3):  # another agent's messages, for which the first one is called
        await talk.say(f"agent says {number}", sender_id=agent.id)
    await rename_person_as_agent(talk)
    await talk.say("and another agent")
    async with dispatching(runtime) as dispatcher:
        await talk.until(lambda stream: stream.due_at is None and stream.lease_id is None)
        assert agent.calls == []
        texts = await talk.texts()
        assert [sender for sender, text in texts if "in a row" in text] == ["system"]
        await talk.say("another one")
        dispatcher.wake()
        await talk.until(lambda stream: stream.due_at is None and stream.lease_id is None)
        assert agent.calls == []
        assert len([text for _, text in await talk.texts() if "in a row" in text]) == 1


@sync_to_async
def rename_person_as_agent(talk: Talk) -> None:
    """The other member of the dm is an agent too."""
    conversation = Conversation.objects.get(key=talk.key)
    conversation.members.filter(id=talk.user).update(kind="agent")


async def test_a_person_ends_the_pause(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_loop_limit": 2})
    for number in range(5):
        await talk.say(f"agent says {number}", sender_id=agent.id)
    await talk.say("a person")
    async with dispatching(runtime):
        await talk.settled(6)
    assert len(agent.calls) == 1


async def test_an_exhausted_agent_leaves_one_message_for_people(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_retry_for": 0.05})
    agent.replies = [answer(500)]
    await talk.say("hello")
    async with dispatching(runtime):
        stream = await talk.until(lambda stream: stream.parked_at is not None)
    assert stream.park_reason == "exhausted"
    (_, _), (sender, text) = await talk.texts()
    assert sender == "system"
    assert agent.id in text
    assert (await last_message(talk)).kind == "system"


async def test_410_disables_the_agent_and_loses_nothing(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    agent.replies = [answer(410), answer(204)]
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.until(lambda stream: not stream.enabled and stream.lease_id is None)
        await sync_to_async(registration.update_agent)(agent.id, enabled=True)
        await talk.settled(1)
    assert [a.status for a in await talk.attempts()] == [410, 204]


async def test_custom_headers_and_keys_are_sent_and_not_logged(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    await sync_to_async(registration.update_agent)(
        agent.id, private={"headers": {"X-Tenant": "geheim-1"}, "api_key": "geheim-2"}
    )
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    assert agent.calls[0].headers["X-Tenant"] == "geheim-1"
    assert agent.calls[0].headers["Authorization"] == "Bearer geheim-2"
    (attempt,) = await talk.attempts()
    assert "geheim" not in attempt.request
