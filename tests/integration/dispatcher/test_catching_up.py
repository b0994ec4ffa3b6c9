"""Calls that are behind, calls that come twice to one dispatcher, and calls that news end before they brought anything."""

import asyncio

from aiohttp import web
from asgiref.sync import sync_to_async
from pytest_django import Settings

from agents import operations, registration
from agents.models import DeliveryStream
from conversations.models import Conversation
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


def hanging(ended: asyncio.Event) -> Reply:
    """An agent's reply that never comes; `ended` says that its connection was closed."""

    async def hang(received: Received) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    return hang


@sync_to_async
def make_agents_of_all(talk: Talk) -> None:
    Conversation.objects.get(key=talk.key).members.update(kind="agent")


async def test_a_replay_of_what_agents_said_among_themselves_comes_to_an_end(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    for number in range(6):
        await talk.say(f"message {number}")
    async with dispatching(runtime):
        await talk.settled(6)
    await make_agents_of_all(talk)
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_loop_limit": 3})
    await sync_to_async(operations.redeliver)(await talk.stream(), 1, 4)
    async with dispatching(runtime):
        stream = await talk.until(lambda stream: stream.due_at is None and stream.replay_to is None)
    assert stream.cursor == 6
    assert [call.seqs[-1] for call in agent.calls] == [6, 4]


async def test_news_that_end_a_call_before_it_brought_anything_bring_both_messages_as_new(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    await sync_to_async(registration.update_agent)(agent.id, while_running="interrupt")
    ended = asyncio.Event()
    agent.replies = [hanging(ended), answer(body={"text": "both"})]
    await talk.say("one")
    async with dispatching(runtime) as dispatcher:
        await agent.wait_for_calls(1)
        await talk.say("two")
        dispatcher.wake()
        await talk.settled(2)
    assert ended.is_set()
    first, second = (call.body for call in agent.calls)
    assert (first["new_from_seq"], second["new_from_seq"]) == (1, 1)
    assert first["id"] != second["id"]
    assert await talk.texts() == [(talk.user, "one"), (talk.user, "two"), (agent.id, "both")]
    assert [a.outcome for a in await talk.attempts()] == ["interrupted", "answered"]


async def test_a_dispatcher_that_gets_its_own_lost_stream_again_gives_up_the_first_call(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    ended = asyncio.Event()
    agent.replies = [hanging(ended), answer(204)]
    await talk.say("hello")
    async with dispatching(runtime) as dispatcher:
        await agent.wait_for_calls(1)
        # As if the whole process had been held still for longer than its lease.
        streams = DeliveryStream.objects.filter(conversation__key=talk.key)
        await streams.aupdate(due_at="2000-01-01T00:00:00Z")
        dispatcher.wake()
        await agent.wait_for_calls(2)
        await asyncio.wait_for(ended.wait(), PATIENCE)
        await talk.settled(1)
    first, second = (call.body for call in agent.calls)
    assert first["id"] == second["id"]
    assert [a.outcome for a in await talk.attempts()] == ["accepted"]
