"""What two do to delivery streams at the same time: nothing is lost, nobody waits in a circle, no lease is stolen."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async

from agents import breaker, endpoints, operations, registration, store, subscriptions
from agents.calls import AttemptRecord, Ending, Finish
from agents.models import AgentEndpoint, DeliveryStream, Endpoint
from conversations.connection import Connection
from conversations.models import Conversation
from runtime import members
from runtime.database import in_thread
from tests.integration.streams import URL, Connect, Talk, claim, claim_one, delivered, failed, look

BREAKER = breaker.Breaker(threshold=2, pause=60.0)


async def waits(work: Awaitable[Any]) -> "asyncio.Future[Any]":
    """Begin this, which may have to wait for a lock that the test holds."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=0.3)
    return task


async def further(talk: Talk, connection: Connection) -> Talk:
    """Another conversation of the talk's agent, with a message."""
    other = Talk()
    other.agent, other.key = talk.agent, f"{talk.agent}:{other.user}"
    await in_thread(members.ensure_dm, other.key)
    other.id = (await sync_to_async(Conversation.objects.get)(key=other.key)).id
    await other.say(connection)
    return other


async def endpoint_of(talk: Talk) -> Endpoint:
    return await sync_to_async(AgentEndpoint.objects.get)(agent_id=talk.agent)


async def finish(connection: Connection, *finishes: Finish) -> tuple[set[int], set[int]]:
    held = await store.finish(connection, finishes)
    async with connection.transaction():
        return await breaker.note_outcomes(connection, finishes, held, BREAKER)


async def open_breaker(connection: Connection, talk: Talk) -> None:
    """Two failures: the talk's stream is to be retried at once."""
    await talk.say(connection)
    for _ in range(2):
        await finish(connection, failed(await claim_one(connection), 0.0))
    assert (await endpoint_of(talk)).opened_at is not None


# Fairness.


async def test_an_endpoint_that_has_all_its_places_does_not_stand_before_the_others(
    connection: Connection,
) -> None:
    narrow, other = Talk(), Talk()
    await narrow.begin(max_in_flight=1)
    await other.begin()
    await narrow.say(connection)
    called = await claim_one(connection)
    for _ in range(4):
        await further(narrow, connection)
    await other.say(connection)
    streams = await claim(connection, 4, held={called.endpoint_id: 1})
    assert [stream.agent_id for stream in streams] == [other.agent]


# The breaker.


async def test_what_is_set_aside_while_the_breaker_closes_comes_back(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    await open_breaker(connection, talk)
    endpoint_id = (await endpoint_of(talk)).id
    async with connection.transaction():
        assert (await look(connection))[1] == 1
        closing = await waits(in_thread(endpoints.close_breaker, endpoint_id))
    await closing
    assert (await endpoint_of(talk)).opened_at is None
    assert not (await talk.stream()).blocked
    assert await claim_one(connection)


async def test_a_breaker_that_closes_meanwhile_sets_nothing_aside(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    await open_breaker(connection, talk)
    other = await connect()
    async with connection.transaction():
        await connection.execute(
            "UPDATE agents_endpoint SET opened_at = NULL, failures = 0 WHERE agent_id = %s", (talk.agent,)
        )
        assert await look(other) == ([], 0)  # it does not wait: it looks again
    assert await claim_one(other)


async def test_a_probe_takes_no_lease_from_who_has_one(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    await open_breaker(connection, talk)
    assert (await look(connection))[1] == 1
    await connection.execute("UPDATE agents_endpoint SET probe_at = now() WHERE agent_id = %s", (talk.agent,))
    other = await connect()
    async with connection.transaction():
        assert await breaker.bring_probes(connection) == 1
        held = await claim_one(connection)
        bringing = await waits(breaker.bring_probes(other))
    assert await bringing == 0
    stream = await talk.stream()
    assert stream.lease_id == held.lease_id
    assert stream.due_at is not None
    assert stream.due_at > datetime.now(UTC) + timedelta(seconds=10)


async def test_a_call_that_a_person_ended_says_nothing_of_the_endpoint(
    connection: Connection, talk: Talk
) -> None:
    await open_breaker(connection, talk)
    await connection.execute("UPDATE agents_endpoint SET probe_at = now() WHERE agent_id = %s", (talk.agent,))
    probe = await claim_one(connection)
    record = AttemptRecord(outcome="cancelled", duration_ms=1)
    assert await finish(connection, Finish(probe, Ending.DELIVERED, attempt=record)) == (set(), set())
    assert (await endpoint_of(talk)).opened_at is not None


# Subscriptions.


async def test_a_stream_that_comes_to_be_while_its_subscription_is_enabled_is_enabled(
    connection: Connection, talk: Talk
) -> None:
    subscribed = await in_thread(
        subscriptions.subscribe, "message.created", URL, key_prefix=talk.key, enabled=False
    )
    async with connection.transaction():
        await talk.say_in_transaction(connection, talk.agent)
        enabling = await waits(
            in_thread(subscriptions.update_subscription, subscribed.subscription.public_id, enabled=True)
        )
    await enabling
    assert (await claim_one(connection)).endpoint_id == subscribed.subscription.id


async def test_a_stream_that_comes_to_be_while_its_subscription_is_disabled_is_disabled(
    connection: Connection, talk: Talk
) -> None:
    subscribed = await in_thread(subscriptions.subscribe, "message.created", URL, key_prefix=talk.key)
    async with connection.transaction():
        await talk.say_in_transaction(connection, talk.agent)
        disabling = await waits(
            in_thread(subscriptions.update_subscription, subscribed.subscription.public_id, enabled=False)
        )
    await disabling
    assert await claim(connection) == []


async def test_a_replay_to_a_subscription_comes_in_calls_of_the_usual_size(
    connection: Connection, talk: Talk
) -> None:
    await in_thread(subscriptions.subscribe, "message.created", URL, key_prefix=talk.key)
    for _ in range(105):
        await talk.say(connection, talk.agent)
    for _ in range(2):
        await store.finish(connection, [delivered(await claim_one(connection))])
    stream = await sync_to_async(DeliveryStream.objects.get)(conversation_id=talk.id, agent_id=None)
    assert (stream.cursor, stream.due_at) == (105, None)
    await in_thread(operations.redeliver, stream, 1, 105)
    assert (await claim_one(connection)).call_seq == 100


# Leases that are given back, and ends that someone wants.


async def test_a_lease_that_is_given_back_leaves_a_resting_stream_at_rest(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    held = await claim_one(connection)
    await in_thread(registration.update_agent, talk.agent, enabled=False)
    await store.release(connection, [held])
    assert (await talk.stream()).due_at is None
    await in_thread(registration.update_agent, talk.agent, enabled=True)
    again = await claim_one(connection)
    assert (again.call_id, again.attempt) == (held.call_id, 1)
    await in_thread(members.hand_over, talk.key, talk.user)
    await store.release(connection, [again])
    assert (await talk.stream()).due_at is None
    await in_thread(members.hand_over, talk.key, None)
    assert (await claim_one(connection)).call_id == held.call_id


async def test_a_cancel_survives_the_end_of_the_dispatcher(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    held = await claim_one(connection)
    assert await store.request_cancel(connection, talk.id, held.run_id)
    await store.release(connection, [held])
    again = await claim_one(connection)
    assert (again.lost_run_id, again.lost_run_cancelled) == (held.run_id, True)


async def test_a_stream_at_rest_does_not_hide_when_the_next_one_is_due(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    await claim_one(connection, lease_seconds=0.0)
    await in_thread(registration.update_agent, talk.agent, enabled=False)
    assert await store.seconds_to_next_due(connection) is None
    other = Talk()
    await other.begin(debounce_ms=60_000)
    await other.say(connection)
    due = await store.seconds_to_next_due(connection)
    assert due is not None
    assert due > 30


async def test_news_that_were_there_at_the_claim_interrupt_nothing(connection: Connection) -> None:
    talk = Talk()
    await talk.begin(while_running="interrupt")
    await talk.say(connection)
    first = await claim_one(connection)
    assert (first.interruptible, first.behind) == (True, False)
    await talk.say(connection)
    await store.finish(connection, [failed(first, 0.0)])
    retry = await claim_one(connection)
    assert (retry.call_seq, retry.interruptible, retry.behind) == (1, False, True)
    await store.finish(connection, [delivered(retry)])
    await store.finish(connection, [delivered(await claim_one(connection))])
    await in_thread(operations.redeliver, await talk.stream(), 1, 1)
    replay = await claim_one(connection)
    assert (replay.call_seq, replay.interruptible, replay.behind) == (1, False, True)


async def test_a_cancel_of_a_former_run_ends_no_other(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    held = await claim_one(connection)
    await connection.execute(
        "UPDATE agents_deliverystream SET cancel_run_id = %s WHERE id = %s", (uuid4(), held.id)
    )
    await talk.say(connection)
    assert await store.wanted_to_end(connection, [held]) == {held.id: (False, True)}


# Locks.


async def test_a_participant_is_deleted_in_the_order_in_which_others_lock(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    await talk.say(connection)
    async with connection.transaction():
        await connection.execute(
            "SELECT FROM agents_endpoint WHERE agent_id = %s FOR NO KEY UPDATE", (talk.agent,)
        )
        deleting = await waits(in_thread(members.delete_participant, talk.agent))
        await connection.execute(
            "SELECT FROM agents_deliverystream WHERE agent_id = %s ORDER BY id FOR NO KEY UPDATE",
            (talk.agent,),
        )
    await deleting
    assert not await sync_to_async(Endpoint.objects.filter(agent_id=talk.agent).exists)()


async def test_gone_is_said_of_the_url_that_was_called(talk: Talk) -> None:
    endpoint = await endpoint_of(talk)
    await in_thread(registration.update_agent, talk.agent, url="http://127.0.0.1:9/moved")
    await in_thread(endpoints.disable, endpoint.id, "gone", url=endpoint.url)
    assert (await endpoint_of(talk)).enabled
    await in_thread(endpoints.disable, endpoint.id, "gone", url="http://127.0.0.1:9/moved")
    assert not (await endpoint_of(talk)).enabled
