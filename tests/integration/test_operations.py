"""What operators do to delivery streams: what is delivered then, what is not, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import get_args
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from agents import bulk, endpoints, operations, registration, store, stream_queries, subscriptions
from agents.breaker import Breaker, note_outcomes
from agents.models import AgentEndpoint, DeliveryStream, Endpoint, Subscription
from agents.secrets import Private, open_private
from conversations.connection import Connection
from conversations.errors import Conflict, InvalidRequest, NotFound
from conversations.models import Conversation, Message
from fleetlm.api.stream_forms import State
from runtime import members
from tests.integration.streams import (
    URL,
    Connect,
    Talk,
    claim,
    claim_one,
    delivered,
    failed,
    look,
)


async def give_up(connection: Connection, talk: Talk) -> DeliveryStream:
    """Park the talk's stream, as a dispatcher does with a call that has failed for long."""
    await store.finish(connection, [failed(await claim_one(connection), None)])
    return await talk.stream()


async def catch_up(connection: Connection, talk: Talk, messages: int = 3) -> DeliveryStream:
    """So many messages, delivered."""
    for number in range(messages):
        await talk.say(connection, text=str(number + 1))
    await store.finish(connection, [delivered(await claim_one(connection))])
    return await talk.stream()


async def endpoint_of(talk: Talk) -> Endpoint:
    return await sync_to_async(AgentEndpoint.objects.get)(agent_id=talk.agent)


# Skip.


async def test_a_skip_gives_up_a_call_that_reaches_beyond_what_concerned_the_agent(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    await talk.say(connection, talk.agent, "posted by REST")
    parked = await give_up(connection, talk)
    assert (parked.wanted_seq, parked.call_seq) == (1, 2)
    skipped = await sync_to_async(operations.skip)(parked)
    assert (skipped.cursor, skipped.parked_at, skipped.due_at) == (2, None, None)
    await talk.say(connection)
    assert (await claim_one(connection)).cursor == 2


async def test_a_skip_to_a_seq_delivers_what_is_after_it(connection: Connection, talk: Talk) -> None:
    for _ in range(3):
        await talk.say(connection)
    held = await claim_one(connection)
    skipped = await sync_to_async(operations.skip)(await talk.stream(), 2)
    assert skipped.lease_id is None
    assert await store.finish(connection, [delivered(held)]) == {}
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq) == (2, 3)
    assert again.call_id != held.call_id


@pytest.mark.parametrize("seq", [None, 0, 2, 2**62])
async def test_what_cannot_be_skipped_is_refused(connection: Connection, talk: Talk, seq: int | None) -> None:
    await talk.say(connection)
    with pytest.raises(InvalidRequest):
        await sync_to_async(operations.skip)(await talk.stream(), seq)
    assert (await talk.stream()).cursor == 0


async def test_a_skip_ends_a_replay_and_moves_no_cursor(connection: Connection, talk: Talk) -> None:
    stream = await catch_up(connection, talk)
    replayed = await sync_to_async(operations.redeliver)(stream, 1, 2)
    assert (replayed.replay_cursor, replayed.replay_to) == (0, 2)
    skipped = await sync_to_async(operations.skip)(replayed)
    assert (skipped.cursor, skipped.replay_cursor, skipped.replay_to, skipped.due_at) == (3, None, None, None)


# Rewind and redeliver.


async def test_neither_leaves_out_what_is_still_to_be_delivered(connection: Connection, talk: Talk) -> None:
    for _ in range(4):
        await talk.say(connection)
    stream = await talk.stream()
    with pytest.raises(InvalidRequest, match="from 1 on"):
        await sync_to_async(operations.rewind)(stream, 2)
    with pytest.raises(InvalidRequest, match="from 1 on"):
        await sync_to_async(operations.redeliver)(stream, 2, 3)
    assert await sync_to_async(operations.rewind)(stream, 1)
    assert (await claim_one(connection)).call_seq == 4


async def test_an_idle_stream_goes_to_any_seq(connection: Connection) -> None:
    talk = Talk()
    await talk.begin(trigger="mention")
    for _ in range(4):
        await talk.say(connection)
    stream = await talk.stream()
    assert (stream.cursor, stream.wanted_seq) == (0, 0)
    await sync_to_async(operations.rewind)(stream, 3)
    call = await claim_one(connection)
    assert (call.cursor, call.call_seq) == (2, 4)


async def test_a_rewind_may_be_for_later_and_a_new_message_brings_it_forward(
    connection: Connection, talk: Talk
) -> None:
    stream = await catch_up(connection, talk)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert (await sync_to_async(operations.rewind)(stream, 2, later)).due_at == later
    assert await claim(connection) == []
    await talk.say(connection)
    call = await claim_one(connection)
    assert (call.cursor, call.call_seq) == (1, 4)


async def test_a_rewind_for_later_comes_forward_no_nearer_than_the_debounce(connection: Connection) -> None:
    talk = Talk()
    await talk.begin(debounce_ms=60_000)
    await talk.say(connection)
    stream = await talk.stream()
    await sync_to_async(operations.skip)(stream, 1)
    later = datetime.now(UTC) + timedelta(hours=1)
    await sync_to_async(operations.rewind)(stream, 1, later)
    await talk.say(connection)
    assert await store.seconds_to_next_due(connection) == pytest.approx(60, abs=2)


async def test_a_retry_that_waits_is_not_brought_forward_by_a_message(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    await store.finish(connection, [failed(await claim_one(connection), 600.0)])
    await talk.say(connection)
    assert await store.seconds_to_next_due(connection) == pytest.approx(600, abs=2)


# States.


async def test_every_stream_is_in_one_state_and_is_found_in_it(connection: Connection, talk: Talk) -> None:
    now = datetime.now(UTC)
    rows = DeliveryStream.objects.filter(agent_id=talk.agent)
    seen = set()
    for parked, enabled, handed_over, waiting, failed_before in product(
        ("", "operator", "exhausted"),
        (True, False),
        (True, False),
        ("", "due", "leased", "blocked"),
        (True, False),
    ):
        await sync_to_async(rows.update)(
            parked_at=now if parked else None,
            park_reason=parked,
            enabled=enabled,
            handed_over=handed_over,
            due_at=now if waiting else None,
            lease_id=uuid4() if waiting == "leased" else None,
            blocked=waiting == "blocked",
            first_failed_at=now if failed_before else None,
        )
        name = stream_queries.state(await talk.stream())
        found = {
            state
            for state, condition in stream_queries.STATES.items()
            if await rows.filter(condition).aexists()
        }
        assert found == {name}
        seen.add(name)
    assert seen == set(stream_queries.STATES) == set(get_args(State))


async def test_every_state_has_its_name(connection: Connection, talk: Talk) -> None:
    async def state() -> str:
        return stream_queries.state(await talk.stream())

    async def page(in_state: str) -> int:
        streams, _ = await sync_to_async(stream_queries.page)(
            await endpoint_of(talk), in_state=in_state, after=None, limit=10
        )
        return len(streams)

    assert await state() == "idle"
    await talk.say(connection)
    assert (await state(), await page("due")) == ("due", 1)
    stream = await claim_one(connection)
    assert (await state(), await page("due")) == ("calling", 0)
    await store.finish(connection, [failed(stream, 0.0)])
    assert (await state(), await page("retrying")) == ("retrying", 1)
    await give_up(connection, talk)
    assert (await state(), await page("parked"), await page("paused")) == ("parked", 1, 0)
    streams = DeliveryStream.objects.filter(agent_id=talk.agent)
    await sync_to_async(operations.resume)(streams)
    await sync_to_async(operations.park)(streams)
    assert (await state(), await page("parked"), await page("paused")) == ("paused", 0, 1)
    await sync_to_async(operations.resume)(streams)
    await sync_to_async(streams.update)(blocked=True)
    assert (await state(), await page("blocked"), await page("due")) == ("blocked", 1, 0)
    await sync_to_async(registration.update_agent)(talk.agent, enabled=False)
    assert (await state(), await page("blocked")) == ("disabled", 0)
    await sync_to_async(registration.update_agent)(talk.agent, enabled=True)
    await sync_to_async(members.ensure_dm)(talk.key)
    user = talk.user
    await sync_to_async(members.hand_over)(talk.key, user)
    assert (await state(), await page("due")) == ("handed_over", 0)


# A handover.


async def test_agents_rest_while_a_person_has_the_conversation_and_then_get_all_that_they_missed(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    held = await claim_one(connection)
    conversation, changed = await sync_to_async(members.hand_over)(talk.key, talk.user)
    assert (conversation.handed_to, changed) == (talk.user, True)
    assert not (await sync_to_async(members.hand_over)(talk.key, talk.user))[1]
    await talk.say(connection)
    assert await store.finish(connection, [delivered(held)]) == {held.id: None}
    await talk.say(connection)
    assert await claim(connection) == []
    conversation, changed = await sync_to_async(members.hand_over)(talk.key, None)
    assert (conversation.handed_to, changed) == ("", True)
    call = await claim_one(connection)
    assert (call.cursor, call.call_seq) == (1, 3)


# Many streams.


class Crowd:
    """One agent in several dms."""

    def __init__(self, talks: list[Talk], endpoint: Endpoint) -> None:
        self.talks = talks
        self.endpoint = endpoint
        self.streams = DeliveryStream.objects.filter(endpoint_id=endpoint.id).order_by("id")

    async def rows(self) -> list[DeliveryStream]:
        return await sync_to_async(list)(self.streams.all())  # type: ignore[arg-type]  # a queryset is iterable


@pytest.fixture
async def crowd(connection: Connection) -> Crowd:
    first = Talk()
    await first.begin()
    talks = [first]
    for _ in range(3):
        talk = Talk()
        talk.agent, talk.key = first.agent, f"{first.agent}:{talk.user}"
        talk.id = await sync_to_async(_dm)(talk.key)
        talks.append(talk)
    for talk in talks:
        await talk.say(connection)
        await talk.say(connection)
    while streams := await claim(connection):
        await store.finish(connection, [delivered(stream) for stream in streams])
    return Crowd(talks, await endpoint_of(first))


def _dm(key: str) -> int:
    members.ensure_dm(key)
    return Conversation.objects.get(key=key).id


def age(talk: Talk, seq: int, days: int) -> None:
    moment = datetime.now(UTC) - timedelta(days=days)
    Message.objects.filter(conversation_id=talk.id, seq__lte=seq).update(created_at=moment)


async def test_everything_since_a_time_is_spaced_out_and_may_be_begun_again(crowd: Crowd) -> None:
    old, partly, *_ = crowd.talks
    await sync_to_async(age)(old, 2, 3)
    await sync_to_async(age)(partly, 1, 3)
    since = datetime.now(UTC) - timedelta(days=1)
    before = datetime.now(UTC)
    assert await sync_to_async(bulk.rewind_since)(crowd.endpoint, since, 0.1) == 3
    rows = await crowd.rows()
    assert [row.cursor for row in rows] == [2, 1, 0, 0]
    assert rows[0].due_at is None
    due = [row.due_at for row in rows[1:]]
    assert all(one is not None for one in due)
    assert before <= due[0] <= datetime.now(UTC)  # type: ignore[operator]
    assert [due[1] - due[0], due[2] - due[1]] == [timedelta(seconds=10)] * 2  # type: ignore[operator]
    # Begun again: what is still to come stays as it is, and what has come meanwhile goes behind it.
    await sync_to_async(crowd.streams.filter(id=rows[1].id).update)(cursor=2, due_at=None)
    assert await sync_to_async(bulk.rewind_since)(crowd.endpoint, since, 0.1) == 1
    again = await crowd.rows()
    assert [row.due_at for row in again[2:]] == due[1:]
    assert again[1].due_at == due[2] + timedelta(seconds=10)  # type: ignore[operator]


async def test_what_an_operator_has_paused_is_not_called_again_by_the_way(crowd: Crowd) -> None:
    await sync_to_async(operations.park)(crowd.streams.filter(conversation_id=crowd.talks[0].id))
    since = datetime.now(UTC) - timedelta(days=1)
    assert await sync_to_async(bulk.rewind_since)(crowd.endpoint, since, 100) == 3
    assert await sync_to_async(bulk.resume)(crowd.endpoint) == 0
    first = (await crowd.rows())[0]
    assert (first.cursor, stream_queries.state(first)) == (2, "paused")


async def test_parked_streams_are_resumed_or_skipped_together(connection: Connection, crowd: Crowd) -> None:
    for talk in crowd.talks:
        await talk.say(connection)
    await store.finish(connection, [failed(stream, None) for stream in await claim(connection)])
    assert await sync_to_async(stream_queries.parked(crowd.endpoint).count)() == 4
    assert await sync_to_async(bulk.resume)(crowd.endpoint, 0.1) == 4
    due = [row.due_at for row in await crowd.rows()]
    assert max(due) - min(due) == timedelta(seconds=30)  # type: ignore[type-var, operator]
    assert await sync_to_async(bulk.retry)(crowd.endpoint) == 4
    claimed = await claim(connection)
    assert {stream.attempt for stream in claimed} == {1}
    await store.finish(connection, [failed(stream, None) for stream in claimed])
    assert await sync_to_async(bulk.skip)(crowd.endpoint) == len(claimed) > 0
    assert {row.cursor for row in await crowd.rows() if row.id in {s.id for s in claimed}} == {3}


async def test_all_are_paused_together(connection: Connection, crowd: Crowd) -> None:
    assert await sync_to_async(bulk.pause)(crowd.endpoint) == 4
    assert await sync_to_async(bulk.pause)(crowd.endpoint) == 0
    for talk in crowd.talks:
        await talk.say(connection)
    assert await claim(connection) == []


# Endpoints.


async def test_what_an_endpoint_keeps_to_itself_is_sealed_and_changed_in_parts(talk: Talk) -> None:
    await sync_to_async(registration.update_agent)(
        talk.agent, private={"headers": {"x-tenant": "acme"}, "api_key": "sk-1"}
    )
    endpoint = await endpoint_of(talk)
    assert endpoint.header_names == ["x-tenant"]
    assert "acme" not in endpoint.sealed
    await sync_to_async(registration.update_agent)(talk.agent, private={"api_key": None})
    assert open_private((await endpoint_of(talk)).sealed) == Private({"x-tenant": "acme"}, None)


async def test_what_was_sealed_with_a_lost_key_can_be_replaced_as_a_whole(talk: Talk) -> None:
    rows = AgentEndpoint.objects.filter(agent_id=talk.agent)
    await sync_to_async(rows.update)(sealed="of another key")
    with pytest.raises(Conflict):
        await sync_to_async(registration.update_agent)(talk.agent, private={"api_key": "sk-2"})
    await sync_to_async(registration.update_agent)(talk.agent, private={"headers": {}, "api_key": "sk-2"})
    assert open_private((await endpoint_of(talk)).sealed) == Private({}, "sk-2")


async def test_a_breaker_that_is_closed_by_hand_lets_everything_through(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    held = await store.finish(connection, [failed(stream, 0.0)])
    await note_outcomes(connection, [failed(stream, 0.0)], held.keys(), Breaker(1, 600.0))
    assert await look(connection) == ([], 1)
    assert (await talk.stream()).blocked
    await sync_to_async(endpoints.close_breaker)(stream.endpoint_id)
    assert (await claim_one(connection)).call_id == stream.call_id
    endpoint = await endpoint_of(talk)
    assert (endpoint.opened_at, endpoint.failures) == (None, 0)


async def test_an_endpoint_that_is_being_changed_keeps_no_claim_waiting(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    """A claim holds streams; were it to wait for the endpoint, whose change waits for the streams, neither would end."""
    await talk.say(connection)
    await sync_to_async(AgentEndpoint.objects.filter(agent_id=talk.agent).update)(
        opened_at=datetime.now(UTC), probe_at=datetime.now(UTC), probe_pause=5
    )
    other = await connect()
    async with other.transaction():
        await other.execute(
            "SELECT FROM agents_endpoint WHERE agent_id = %s FOR NO KEY UPDATE", (talk.agent,)
        )
        async with asyncio.timeout(3):
            assert await look(connection) == ([], 0)
    assert len(await claim(connection)) == 1


async def test_a_subscription_deleted_during_an_append_does_not_fail_it(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    subscribed = await sync_to_async(subscriptions.subscribe)("message.created", URL, key_prefix=talk.key)
    appender = await connect()
    async with appender.transaction():
        await talk.say_in_transaction(appender, talk.user)
        deletion = asyncio.create_task(
            in_own_connection(subscriptions.unsubscribe, subscribed.subscription.public_id)
        )
        await deletion_waits(await connect())
    await deletion
    assert not await sync_to_async(Subscription.objects.filter(id=subscribed.subscription.id).exists)()
    assert (await talk.stream()).wanted_seq == 1


async def test_an_append_waits_for_a_deletion_of_a_subscription_and_goes_on_without_it(
    connection: Connection, talk: Talk
) -> None:
    subscribed = await sync_to_async(subscriptions.subscribe)("message.created", URL, key_prefix=talk.key)
    public_id, begun, go_on = subscribed.subscription.public_id, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def delete() -> None:
        with transaction.atomic():
            subscriptions.unsubscribe(public_id)
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    deletion = asyncio.create_task(in_own_connection(delete))
    await begun.wait()
    append = asyncio.create_task(talk.say(connection))
    await asyncio.wait({append}, timeout=0.2)
    go_on.set()
    await deletion
    assert await append == 1


async def in_own_connection(function: object, *args: object) -> None:
    def work() -> None:
        try:
            function(*args)  # type: ignore[operator]
        finally:
            connections.close_all()

    await sync_to_async(work, thread_sensitive=False)()


async def deletion_waits(observer: Connection) -> None:
    """Return when a session of Django waits for a row."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while (await (await observer.execute(query)).fetchone()) == (0,):
            pass  # each look is a round trip


async def test_an_agent_that_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(NotFound):
        await sync_to_async(registration.delete_agent)(f"nobody-{uuid4().hex}")


async def test_deleting_a_participant_ends_what_follows_it(connection: Connection) -> None:
    talk, group = Talk(), f"g-{uuid4().hex[:12]}"
    await sync_to_async(members.create)(
        group, "group", {talk.user: "member", talk.agent: "member"}, make_participants=True
    )
    talk.id = (await sync_to_async(Conversation.objects.get)(key=group)).id
    subscribed = await sync_to_async(subscriptions.subscribe)(
        "message.created", URL, participant_id=talk.user
    )
    assert await talk.say(connection) == 1
    await sync_to_async(members.delete_participant)(talk.user)
    streams = DeliveryStream.objects.filter(endpoint_id=subscribed.subscription.id)
    assert await sync_to_async(streams.count)() == 0
    assert await talk.say(connection, talk.agent) == 0
