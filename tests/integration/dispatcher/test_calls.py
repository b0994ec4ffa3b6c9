"""The dispatcher calls real HTTP agents on loopback, and what it does is seen in Postgres."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from asgiref.sync import sync_to_async
from pytest_django import Settings

from agents import operations, registration
from agents.models import DeliveryStream
from conversations.append import Appended, AppendRequest
from conversations.errors import Unavailable
from conversations.models import Conversation
from runtime import members
from runtime.core import Runtime
from tests.integration.dispatcher.dispatching import (
    PATIENCE,
    Agent,
    Received,
    Reply,
    Talk,
    answer,
    answer_after,
    begin,
    dispatching,
    make_dispatcher,
    serving_agent,
)


async def test_a_call_carries_what_the_contract_says(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    (call,) = agent.calls
    epoch = (await sync_to_async(Conversation.objects.get)(key=talk.key)).epoch
    (message,) = call.body.pop("conversation")
    assert (message["seq"], message["sender_id"], message["text"]) == (1, talk.user, "hello")
    (attempt,) = await talk.attempts()
    assert call.body == {
        "type": "message.created",
        "id": call.headers["webhook-id"],
        "timestamp": message["created_at"],
        "agent_id": agent.id,
        "dm_key": talk.key,
        "key": talk.key,
        "epoch": str(epoch),
        "new_from_seq": 1,
        "participants": [
            {"id": agent.id, "kind": "agent", "display_name": ""},
            {"id": talk.user, "kind": "user", "display_name": ""},
        ],
        "reply_url": f"http://127.0.0.1:4000/api/conversations/{talk.key}/messages",
        "run_id": str(attempt.run_id),
    }
    assert call.headers["traceparent"].startswith("00-")
    assert (attempt.outcome, attempt.status, str(attempt.call_id)) == (
        "accepted",
        204,
        call.headers["webhook-id"],
    )


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"text": "hi"}, ["hi"]),
        ({"messages": [{"text": "one"}, {"text": "two"}]}, ["one", "two"]),
        ({"text": ""}, []),
    ],
)
async def test_an_answer_is_appended_and_does_not_call_its_agent(
    runtime: Runtime, agent: Agent, talk: Talk, body: Any, texts: list[str]
) -> None:
    agent.replies = [answer(body=body)]
    await talk.say("hello")
    async with dispatching(runtime):
        stream = await talk.settled(1)
    assert stream.due_at is None
    assert await talk.texts() == [(talk.user, "hello"), *((agent.id, text) for text in texts)]
    assert len(agent.calls) == 1
    assert [a.outcome for a in await talk.attempts()] == ["answered"]


async def test_the_next_call_says_what_is_new(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    agent.replies = [answer(body={"text": "hi"})]
    async with dispatching(runtime):
        await talk.say("one")
        await talk.settled(1)
        await talk.say("two")
        await talk.settled(3)
    assert [call.body["new_from_seq"] for call in agent.calls] == [1, 3]
    assert agent.calls[1].seqs == [1, 2, 3]


async def test_a_failed_call_is_made_again_as_it_was(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    second = asyncio.Event()
    agent.replies = [
        answer_after(second, answer(500)),
        answer(503, **{"Retry-After": "0"}),
        answer(302, Location="/"),
        answer(body={"text": "at last"}),
        answer(204),
    ]
    await talk.say("one")
    async with dispatching(runtime):
        await agent.wait_for_calls(1)
        await talk.say("two")
        second.set()
        await talk.settled(2)
    assert [call.seqs for call in agent.calls] == [[1], [1], [1], [1], [1, 2, 3]]
    ids = [call.headers["webhook-id"] for call in agent.calls]
    assert len(set(ids[:4])) == 1
    assert ids[4] != ids[0]
    assert len({call.body["run_id"] for call in agent.calls}) == 5
    attempts = await talk.attempts()
    assert [(a.outcome, a.status, a.number) for a in attempts] == [
        ("refused", 500, 1),
        ("refused", 503, 2),
        ("refused", 302, 3),
        ("answered", 200, 4),
        ("accepted", 204, 1),
    ]
    assert await talk.texts() == [(talk.user, "one"), (talk.user, "two"), (agent.id, "at last")]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer(body=b"not json"), "invalid_answer"),
        (answer(body=b""), "invalid_answer"),
        (answer(body={"reply": "hi"}), "invalid_answer"),
        (answer(body={"text": "a\0b"}), "invalid_answer"),
        (answer(body={"messages": [{"text": "fine"}, {"text": 7}]}), "invalid_answer"),
        (answer(body={"text": "x" * 2_000_000}), "invalid_answer"),
        (answer(404), "refused"),
        (answer(202), "refused"),
    ],
)
async def test_a_wrong_answer_appends_nothing_and_is_retried(
    runtime: Runtime, agent: Agent, talk: Talk, reply: Reply, outcome: str
) -> None:
    agent.replies = [reply, answer(204)]
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    first, second = await talk.attempts()
    assert first.outcome == outcome
    assert first.error
    assert second.outcome == "accepted"
    assert await talk.texts() == [(talk.user, "hello")]


async def test_a_call_that_takes_too_long_is_retried(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    never = asyncio.Event()
    agent.replies = [answer_after(never, answer(204)), answer(204)]
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    assert [a.outcome for a in await talk.attempts()] == ["timed_out", "accepted"]


async def test_an_agent_that_cannot_be_reached_is_parked_in_the_end(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_retry_for": 0.05})
    await sync_to_async(registration.update_agent)(agent.id, url="http://127.0.0.1:9/")
    await talk.say("hello")
    async with dispatching(runtime):
        stream = await talk.until(lambda stream: stream.parked_at is not None)
    assert (stream.cursor, stream.due_at) == (0, None)
    assert "127.0.0.1" in stream.last_error
    attempts = await talk.attempts()
    assert len(attempts) > 1
    assert {a.outcome for a in attempts} == {"unreachable"}


async def test_one_call_at_a_time_and_what_comes_meanwhile_comes_together(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    first = asyncio.Event()
    agent.replies = [answer_after(first, answer(204)), answer(204)]
    await talk.say("one")
    async with dispatching(runtime), dispatching(runtime):
        await agent.wait_for_calls(1)
        for text in ("two", "three", "four"):
            await talk.say(text)
        first.set()
        await talk.settled(4)
    assert [(call.seqs[-1], call.body["new_from_seq"]) for call in agent.calls] == [(1, 1), (4, 2)]


async def test_its_own_and_system_messages_call_nobody(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    await talk.say("to myself", sender_id=agent.id)
    await talk.say("someone joined", kind="system")
    stream = await talk.stream()
    assert stream.due_at is None
    await sync_to_async(operations.rewind)(stream, 1)
    async with dispatching(runtime):
        await talk.settled(2)
    assert agent.calls == []
    assert await talk.attempts() == []


async def test_a_dispatcher_that_dies_before_the_acknowledgement_duplicates_nothing(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    agent.replies = [
        answer(body={"messages": [{"text": "one"}, {"text": "two"}]}),
        answer(body={"text": "other"}),
    ]
    await talk.say("hello")
    appended = asyncio.Event()

    async def append_and_hang(request: AppendRequest) -> Appended:
        """As a process that is killed after the commit: nothing more of it is heard."""
        result = await runtime.gateway.append(request)
        if request.text == "two":
            appended.set()
            await asyncio.Event().wait()
        return result

    dead = asyncio.create_task(make_dispatcher(runtime, append_and_hang).run(asyncio.Event()))
    await asyncio.wait_for(appended.wait(), PATIENCE)
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    async with dispatching(runtime):
        await talk.settled(1)
    assert len({call.headers["webhook-id"] for call in agent.calls}) == 1
    assert len(agent.calls) == 2
    assert await talk.texts() == [(talk.user, "hello"), (agent.id, "one"), (agent.id, "two")]


async def test_a_dispatcher_that_lost_its_lease_ends_the_call_and_moves_no_cursor(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_timeout": 5.0, "dispatch_lease": 0.3})
    late = asyncio.Event()
    agent.replies = [answer_after(late, answer(body={"text": "too late"})), answer(204)]
    await talk.say("hello")
    async with dispatching(runtime):
        await agent.wait_for_calls(1)
        await sync_to_async(operations.park)(DeliveryStream.objects.filter(agent_id=agent.id))
        await asyncio.sleep(0.3)  # the time of a renewal, in which nothing else happens that could be awaited
        late.set()
    stream = await talk.stream()
    assert (stream.cursor, stream.lease_id) == (0, None)
    assert await talk.texts() == [(talk.user, "hello")]


async def test_a_call_longer_than_its_lease_keeps_it(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_timeout": 5.0, "dispatch_lease": 0.3})

    async def slow(received: Received) -> web.StreamResponse:
        await asyncio.sleep(1)  # the duration is what is tested
        return web.json_response({"text": "slow"})

    agent.replies = [slow]
    await talk.say("hello")
    async with dispatching(runtime):
        await talk.settled(1)
    assert len(agent.calls) == 1
    assert await talk.texts() == [(talk.user, "hello"), (agent.id, "slow")]


async def test_an_answer_waits_while_it_cannot_be_stored(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    agent.replies = [answer(body={"text": "patient"})]
    await talk.say("hello")
    failures = [Unavailable()]

    async def append(request: AppendRequest) -> Appended:
        if failures:
            raise failures.pop()
        return await runtime.gateway.append(request)

    async with dispatching(runtime, append):
        await talk.settled(1)
    assert len(agent.calls) == 1
    assert await talk.texts() == [(talk.user, "hello"), (agent.id, "patient")]


async def test_an_answer_to_a_closed_conversation_is_dropped(
    runtime: Runtime, agent: Agent, talk: Talk
) -> None:
    agent.replies = [answer(body={"text": "anyone?"})]
    await talk.say("hello")
    await sync_to_async(members.set_state)(talk.key, "closed")
    async with dispatching(runtime):
        await talk.settled(1)
    assert await talk.texts() == [(talk.user, "hello")]


async def test_a_stopping_dispatcher_lets_calls_finish(runtime: Runtime, agent: Agent, talk: Talk) -> None:
    go = asyncio.Event()
    agent.replies = [answer_after(go, answer(body={"text": "done"}))]
    await talk.say("hello")
    async with dispatching(runtime):
        await agent.wait_for_calls(1)
        asyncio.get_running_loop().call_later(0.05, go.set)
    assert (await talk.stream()).cursor == 1
    assert await talk.texts() == [(talk.user, "hello"), (agent.id, "done")]


async def test_a_stopping_dispatcher_gives_back_what_takes_too_long(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"agent_timeout": 5.0, "dispatch_lease": 60.0})
    agent.replies = [answer_after(asyncio.Event(), answer(204)), answer(204)]
    await talk.say("hello")
    async with dispatching(runtime):
        await agent.wait_for_calls(1)
    stream = await talk.stream()
    assert (stream.lease_id, stream.attempts) == (None, 0)
    async with dispatching(runtime):
        await talk.settled(1)
    assert agent.calls[0].headers["webhook-id"] == agent.calls[1].headers["webhook-id"]


async def test_a_hanging_endpoint_slows_no_other(
    runtime: Runtime, agent: Agent, talk: Talk, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(
        update={"agent_timeout": 5.0, "dispatch_lease": 60.0, "dispatch_in_flight": 4}
    )
    async with serving_agent(answer_after(asyncio.Event(), answer(204))) as hanging:
        for _ in range(20):
            await (await begin(runtime, hanging)).say("hello?")
        async with dispatching(runtime) as dispatcher:
            await hanging.wait_for_calls(2)
            await talk.say("hello")
            dispatcher.wake()
            await talk.settled(1)
        assert len(hanging.calls) == 2
    assert len(agent.calls) == 1


async def test_a_place_is_free_when_its_call_is_over_though_that_is_not_written_yet(
    runtime: Runtime, agent: Agent, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"dispatch_in_flight": 1})
    talks, go_on = [await begin(runtime, agent) for _ in range(2)], asyncio.Event()
    agent.replies = [answer_after(go_on, answer(204))]
    async with runtime.pool.connection() as connection, dispatching(runtime):
        async with connection.transaction():
            await talks[0].say("hello")
            await agent.wait_for_calls(1)
            # Nobody can write that the first call is over while its row is held.
            stream = await talks[0].stream()
            query = "SELECT FROM agents_deliverystream WHERE id = %s FOR UPDATE"
            await connection.execute(query, [stream.id])
            go_on.set()
            await talks[1].say("hello")
            await agent.wait_for_calls(2)
            assert (await talks[0].stream()).lease_id is not None
        for talk in talks:
            await talk.settled(1)
