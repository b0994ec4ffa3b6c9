"""Subscriptions are told of messages, broadcasts and inboxes by the same dispatcher."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async

from agents import subscriptions
from agents.models import Attempt, DeliveryStream
from conversations import queries
from conversations.models import Conversation
from runtime import members
from runtime.core import Runtime
from tests.integration.dispatcher.dispatching import Agent, Reply, Talk, answer, dispatching, served


@asynccontextmanager
async def subscriber(event: str, reply: Reply | None = None, **filters: Any) -> AsyncIterator[Agent]:
    """Something that gets events, and checks their signatures."""
    agent = Agent("", replies=[reply or answer(200, body={"ok": True})])
    async with served(agent) as url:
        made = await sync_to_async(subscriptions.subscribe)(event, url, **filters)
        agent.id, agent.secret = str(made.subscription.public_id), made.secret
        yield agent


@sync_to_async
def cursor(subscription_id: str) -> int:
    stream = DeliveryStream.objects.filter(endpoint__public_id=UUID(subscription_id)).first()
    return stream.cursor if stream is not None and stream.lease_id is None else -1


async def test_messages_come_in_order_with_their_kind(runtime: Runtime, talk: Talk) -> None:
    async with subscriber("message.created", key_prefix=talk.key) as heard:
        await talk.say("one")
        await talk.say("someone joined", kind="system")
        await talk.say("two")
        async with dispatching(runtime):
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 3)
    (call,) = heard.calls
    epoch = (await sync_to_async(Conversation.objects.get)(key=talk.key)).epoch
    messages = call.body.pop("messages")
    assert [(m["seq"], m["kind"], m["text"]) for m in messages] == [
        (1, "text", "one"),
        (2, "system", "someone joined"),
        (3, "text", "two"),
    ]
    assert call.body == {
        "type": "message.created",
        "id": call.headers["webhook-id"],
        "timestamp": messages[-1]["created_at"],
        "subscription_id": heard.id,
        "key": talk.key,
        "dm_key": talk.key,
        "epoch": str(epoch),
    }


async def test_messages_of_other_kinds_are_left_out(runtime: Runtime, talk: Talk) -> None:
    async with subscriber("message.created", key_prefix=talk.key, message_kinds=["system"]) as heard:
        await talk.say("one")
        async with dispatching(runtime) as dispatcher:
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 1)
            assert heard.calls == []
            await talk.say("someone joined", kind="system")
            await talk.say("two")
            dispatcher.wake()
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 3)
    assert [m["seq"] for call in heard.calls for m in call.body["messages"]] == [2]


async def test_a_subscriber_that_fails_gets_the_same_event_again(runtime: Runtime, talk: Talk) -> None:
    async with subscriber("message.created", answer(503), key_prefix=talk.key) as heard:
        heard.replies.append(answer(202))
        await talk.say("one")
        async with dispatching(runtime):
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 1)
    first, second = heard.calls
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    attempts = Attempt.objects.filter(stream__endpoint__public_id=UUID(heard.id)).order_by("id")
    assert await sync_to_async(lambda: [(a.outcome, a.status) for a in attempts])() == [
        ("refused", 503),
        ("accepted", 202),
    ]


async def test_broadcasts_have_an_event_of_their_own(runtime: Runtime, talk: Talk) -> None:
    key = f"b-{uuid4().hex[:12]}"
    await sync_to_async(members.create)(key, "broadcast", {talk.user: "admin"})
    broadcast = Talk(runtime, key, talk.user, talk.agent)
    async with (
        subscriber("broadcast.created", key_prefix=key) as heard,
        subscriber("message.created", key_prefix=key) as deaf,
    ):
        await broadcast.say("to everyone")
        async with dispatching(runtime):
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 1)
    assert [m["text"] for m in heard.calls[0].body["messages"]] == ["to everyone"]
    assert heard.calls[0].body["type"] == "broadcast.created"
    assert deaf.calls == []


async def test_inbox_updates_carry_the_newest_state(runtime: Runtime, talk: Talk) -> None:
    async with subscriber("inbox.updated", key_prefix=talk.key, participant_id=talk.user) as heard:
        await talk.say("one", sender_id=talk.agent)
        await talk.say("two", sender_id=talk.agent)
        async with dispatching(runtime) as dispatcher:
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 2)
            async with runtime.pool.connection() as connection:
                view = await queries.view(connection, talk.key, talk.user)
            assert view is not None
            await runtime.gateway.read(view, talk.user, 2)
            dispatcher.wake()
            await talk.until_async(lambda: cursor(heard.id), lambda at: at == 3)
    unread = [
        (one["participant_id"], one["unread_count"], one["last_message"]["text"])
        for call in heard.calls
        for one in call.body["updates"]
    ]
    assert unread == [(talk.user, 2, "two"), (talk.user, 0, "two")]
