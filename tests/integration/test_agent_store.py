"""Delivery streams in Postgres: what appends mark, what dispatchers claim, and what a lost lease can no
longer do."""

import asyncio
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from agents import marking, operations, queries, registration, store
from agents.models import AgentEndpoint, DeliveryStream
from agents.secrets import open_secrets
from conversations.connection import Connection
from conversations.errors import Conflict, InvalidRequest, NotFound
from conversations.models import Conversation, Message, Participant
from runtime import members
from tests.integration.streams import (
    LEASE,
    URL,
    Connect,
    Talk,
    claim,
    claim_one,
    delivered,
    failed,
    make_dm,
)


async def test_an_append_makes_the_stream_due_and_a_claim_fixes_the_call(
    connection: Connection, talk: Talk
) -> None:
    assert await talk.say(connection) == 1
    stream = await claim_one(connection)
    assert (stream.agent_id, stream.key, stream.is_dm, stream.url) == (talk.agent, talk.key, True, URL)
    assert (stream.cursor, stream.call_seq, stream.attempt) == (0, 1, 1)
    assert await claim(connection) == []


async def test_its_own_messages_do_not_make_an_agent_due(connection: Connection, talk: Talk) -> None:
    assert await talk.say(connection, talk.agent) == 0
    assert await claim(connection) == []


async def test_an_acknowledgement_moves_the_cursor_and_logs_the_attempt(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    assert await store.finish(connection, [delivered(stream)]) == {stream.id: None}
    after = await talk.stream()
    assert (after.cursor, after.due_at, after.lease_id, after.call_id, after.attempts) == (
        1,
        None,
        None,
        None,
        0,
    )
    (attempt,) = await talk.attempts()
    assert (attempt.call_id, attempt.number, attempt.from_seq, attempt.to_seq) == (stream.call_id, 1, 1, 1)
    assert (attempt.outcome, attempt.status) == ("accepted", 204)


async def test_what_comes_in_during_a_call_waits_for_the_next_one(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    first = await claim_one(connection)
    await talk.say(connection)
    await talk.say(connection)
    assert await claim(connection) == []
    due = await store.finish(connection, [delivered(first)])
    assert due[first.id] == pytest.approx(0, abs=0.1)
    second = await claim_one(connection)
    assert (second.cursor, second.call_seq) == (1, 3)
    assert second.call_id != first.call_id


async def test_an_append_that_commits_during_an_acknowledgement_is_not_missed(
    connection: Connection, connect: Connect, talk: Talk
) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    appender = await connect()
    async with appender.transaction():
        await talk.say_in_transaction(appender, talk.user)
        acknowledgement = asyncio.create_task(store.finish(connection, [delivered(stream)]))
        await waits_for_a_lock(await connect(), connection)
    assert (await acknowledgement)[stream.id] == pytest.approx(0, abs=0.1)
    assert (await claim_one(connection)).call_seq == 2


async def waits_for_a_lock(observer: Connection, connection: Connection) -> None:
    """Return when the other connection's statement waits for a row."""
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    async with asyncio.timeout(5):
        while (await (await observer.execute(query, (connection.info.backend_pid,))).fetchone()) != (True,):
            pass  # each look is a round trip


async def test_a_retry_is_the_same_call_and_leaves_what_came_in_since_for_the_next(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    first = await claim_one(connection)
    await talk.say(connection)
    assert await store.finish(connection, [failed(first, 0.0)]) == {first.id: pytest.approx(0, abs=0.1)}
    retry = await claim_one(connection)
    assert (retry.call_id, retry.call_seq, retry.attempt) == (first.call_id, 1, 2)
    assert retry.lease_id != first.lease_id
    assert retry.first_failed_at is not None
    await store.finish(connection, [delivered(retry)])
    assert (await claim_one(connection)).call_seq == 2


async def test_a_new_message_does_not_bring_a_retry_forward(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    await store.finish(connection, [failed(await claim_one(connection), 60.0)])
    await talk.say(connection)
    assert await claim(connection) == []
    assert await store.seconds_to_next_due(connection) == pytest.approx(60, abs=1)


async def test_a_lost_lease_moves_no_cursor_and_logs_nothing(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    lost = await claim_one(connection, lease_seconds=0.0)
    current = await claim_one(connection)
    assert current.id == lost.id
    assert await store.finish(connection, [delivered(lost)]) == {}
    assert await store.finish(connection, [failed(lost, None)]) == {}
    assert await store.renew_leases(connection, [lost], LEASE) == set()
    await store.release(connection, [lost])
    after = await talk.stream()
    assert (after.cursor, after.lease_id, after.parked_at) == (0, current.lease_id, None)
    assert await talk.attempts() == []
    assert await store.finish(connection, [delivered(current)]) == {current.id: None}


async def test_a_renewed_lease_holds(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    stream = await claim_one(connection, lease_seconds=0.0)
    assert await store.renew_leases(connection, [stream], LEASE) == {stream.id}
    assert await claim(connection) == []


async def test_a_released_stream_is_due_at_once_and_has_lost_no_attempt(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    first = await claim_one(connection)
    await store.release(connection, [first])
    again = await claim_one(connection)
    assert (again.attempt, again.call_id) == (1, first.call_id)


async def test_two_dispatchers_never_get_the_same_stream(connection: Connection, connect: Connect) -> None:
    talks = [Talk() for _ in range(20)]
    for talk in talks:
        await talk.begin()
        await talk.say(connection)
    connections = [await connect() for _ in range(3)]
    claims = await asyncio.gather(*(claim(one, limit=40) for one in connections))
    ids = [stream.id for streams in claims for stream in streams]
    assert len(ids) == len(set(ids)) == 20


async def test_a_parked_stream_waits_for_an_operator_and_then_gets_everything(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    assert await store.finish(connection, [failed(stream, None)]) == {stream.id: None}
    await talk.say(connection)
    assert await claim(connection) == []
    parked = await talk.stream()
    assert parked.parked_at is not None
    assert parked.last_error == "no ?"
    assert await sync_to_async(operations.resume)(DeliveryStream.objects.filter(id=stream.id)) == 1
    resumed = await claim_one(connection)
    assert (resumed.call_id, resumed.call_seq, resumed.attempt) == (stream.call_id, 1, 1)
    await store.finish(connection, [delivered(resumed)])
    assert (await claim_one(connection)).call_seq == 2


async def test_an_operator_parks_a_stream_and_its_call_loses_the_lease(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    assert await sync_to_async(operations.park)(DeliveryStream.objects.filter(id=stream.id)) == 1
    assert await store.finish(connection, [delivered(stream)]) == {}
    assert await claim(connection) == []


async def test_a_replay_delivers_again_as_a_new_call(connection: Connection, talk: Talk) -> None:
    for _ in range(3):
        await talk.say(connection)
    first = await claim_one(connection)
    await store.finish(connection, [delivered(first)])
    await sync_to_async(operations.rewind)(await talk.stream(), 2)
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq) == (1, 3)
    assert again.call_id != first.call_id


@pytest.mark.parametrize("seq", [0, 2])
async def test_a_replay_from_a_seq_that_is_not_there_is_refused(
    connection: Connection, talk: Talk, seq: int
) -> None:
    await talk.say(connection)
    with pytest.raises(InvalidRequest):
        await sync_to_async(operations.rewind)(await talk.stream(), seq)
    with pytest.raises(NotFound):
        await sync_to_async(operations.find_stream)(talk.key, agent_id=talk.user)


async def test_debounce_delays_a_call(connection: Connection) -> None:
    talk = Talk()
    await talk.begin(debounce_ms=60_000)
    await talk.say(connection)
    assert await claim(connection) == []
    assert await store.seconds_to_next_due(connection) == pytest.approx(60, abs=1)


async def test_a_disabled_agent_is_not_called_and_gets_it_later(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    await sync_to_async(registration.update_agent)(talk.agent, enabled=False)
    await talk.say(connection)
    assert await claim(connection) == []
    await sync_to_async(registration.update_agent)(talk.agent, enabled=True)
    assert (await claim_one(connection)).call_seq == 2


async def test_an_agent_disabled_during_its_call_stays_quiet(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    stream = await claim_one(connection)
    await talk.say(connection)
    await sync_to_async(registration.update_agent)(talk.agent, enabled=False)
    assert await store.finish(connection, [delivered(stream)]) == {stream.id: None}
    await sync_to_async(registration.update_agent)(talk.agent, enabled=True)
    assert (await claim_one(connection)).call_seq == 2


async def test_one_endpoint_takes_half_of_the_places_and_leaves_the_rest(connection: Connection) -> None:
    agent = Talk()
    await agent.begin()
    talks = [Talk() for _ in range(10)]
    for talk in talks:
        talk.agent, talk.key = agent.agent, f"{agent.agent}:{talk.user}"
        talk.id = await sync_to_async(make_dm)(talk.key)
        await talk.say(connection)
    claimed = await claim(connection, limit=6)
    assert len(claimed) == 3
    endpoint_id = claimed[0].endpoint_id
    assert await claim(connection, limit=3, held={endpoint_id: 3}) == []
    other = Talk()
    await other.begin()
    await other.say(connection)
    assert [s.agent_id for s in await claim(connection, limit=3, held={endpoint_id: 3})] == [other.agent]


async def test_a_stream_far_behind_catches_up_in_several_calls(connection: Connection, talk: Talk) -> None:
    await connection.execute(
        "UPDATE conversations_conversation SET last_seq = 2500 WHERE id = %s", (talk.id,)
    )
    await connection.run(*marking.mark_due([marking.News(talk.id, 2500, talk.user, True, [])]))
    uppers = []
    while streams := await claim(connection):
        uppers.append(streams[0].call_seq)
        await store.finish(connection, [delivered(streams[0])])
    assert uppers == [1000, 2000, 2500]


async def test_contexts_of_several_streams_in_one_query(connection: Connection) -> None:
    talks = [Talk(), Talk()]
    for number, talk in enumerate(talks, start=1):
        await talk.begin(context_messages=2)
        for index in range(3 * number):
            await talk.say(connection, text=f"{number}/{index}")
    streams = {stream.key: stream for stream in await claim(connection)}
    contexts = await queries.contexts(connection, list(streams.values()))
    assert [m.text for m in contexts[streams[talks[0].key].id]] == ["1/0", "1/1", "1/2"]
    assert [m.seq for m in contexts[streams[talks[1].key].id]] == [1, 2, 3, 4, 5, 6]
    people = await queries.participants(connection, [talks[0].id])
    assert people[talks[0].id] == [
        {"id": talks[0].agent, "kind": "agent", "display_name": ""},
        {"id": talks[0].user, "kind": "user", "display_name": ""},
    ]


async def test_the_claim_reads_the_index_of_due_streams_only(connection: Connection, talk: Talk) -> None:
    await talk.say(connection)
    query = store.CLAIM_DUE_STREAMS
    for name, value in (
        ("limit", "100"),
        ("lease_seconds", "30"),
        ("give_up_after", "1"),
        ("probe_pause_max", "1"),
        ("new_messages", "1000"),
        ("event_messages", "100"),
        ("full", "'{}'"),
        ("endpoint_ids", "'{}'"),
        ("held", "'{}'"),
        ("lease_id", "gen_random_uuid()"),
    ):
        query = query.replace(f"%({name})s", value)
    async with connection.transaction():
        # The tables of a test are so small that Postgres would rather read them whole.
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(row[0] for row in await (await connection.execute(f"EXPLAIN {query}")).fetchall())
    assert "Index Scan using stream_due" in plan


async def test_registering_makes_a_known_user_an_agent_from_now_on(connection: Connection) -> None:
    talk = Talk()
    talk.id = await sync_to_async(make_dm)(talk.key)
    await talk.say(connection)
    registered = await sync_to_async(registration.register_agent)(talk.agent, URL)
    assert (await sync_to_async(Participant.objects.get)(id=talk.agent)).kind == "agent"
    endpoint = await sync_to_async(AgentEndpoint.objects.get)(agent_id=talk.agent)
    assert registered.secret not in str(endpoint.secrets)
    assert open_secrets(endpoint.secrets, endpoint.created_at) == [registered.secret]
    assert await claim(connection) == []
    await talk.say(connection)
    stream = await claim_one(connection)
    assert (stream.cursor, stream.call_seq) == (1, 2)
    with pytest.raises(Conflict):
        await sync_to_async(registration.register_agent)(talk.agent, URL)


async def test_deleting_an_agent_ends_its_calls_and_keeps_its_messages(
    connection: Connection, talk: Talk
) -> None:
    await talk.say(connection)
    await talk.say(connection, talk.agent)
    stream = await claim_one(connection)
    await sync_to_async(registration.delete_agent)(talk.agent)
    assert await store.finish(connection, [delivered(stream)]) == {}
    assert await sync_to_async(Message.objects.filter(conversation_id=talk.id).count)() == 2
    with pytest.raises(NotFound):
        await sync_to_async(registration.delete_agent)(talk.agent)
    await sync_to_async(registration.register_agent)(talk.agent, URL)
    assert (await talk.stream()).cursor == 2


async def test_an_agent_that_leaves_is_called_no_more_and_starts_anew_when_it_returns(
    connection: Connection,
) -> None:
    talk, group = Talk(), f"g-{uuid4().hex[:12]}"
    await talk.begin(debounce_ms=0)
    await sync_to_async(members.create)(group, "group", {talk.agent: "member", talk.user: "member"})
    talk.id = await sync_to_async(lambda: Conversation.objects.get(key=group).id)()
    await talk.say(connection)
    await sync_to_async(members.remove)(group, talk.agent)
    assert await claim(connection) == []
    await talk.say(connection)
    await sync_to_async(members.add)(group, {talk.agent: "member"})
    assert await claim(connection) == []
    await talk.say(connection)
    stream = await claim_one(connection)
    assert (stream.cursor, stream.call_seq) == (2, 3)
