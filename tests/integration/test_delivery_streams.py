"""What makes a delivery stream due, what holds it back, and how it comes back."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from agents import breaker, endpoints, marking, operations, registration, secrets, store, subscriptions
from agents.calls import Ending, Finish
from agents.models import DeliveryStream, Endpoint
from agents.secrets import Private, open_private, open_secrets
from conversations.connection import Connection
from conversations.errors import InvalidRequest
from conversations.models import Conversation
from runtime import members
from tests.integration.streams import URL, Talk, claim, claim_one, delivered, failed, look, make_dm

BREAKER = breaker.Breaker(threshold=3, pause=60.0)


async def group(connection: Connection, **options: object) -> Talk:
    """A group of a person, the talk's agent and another agent."""
    talk = Talk()
    await talk.begin(**{"debounce_ms": 0, **options})
    talk.key = f"g-{uuid4().hex[:12]}"
    await sync_to_async(members.create)(talk.key, "group", {talk.user: "member", talk.agent: "member"})
    talk.id = (await sync_to_async(Conversation.objects.get)(key=talk.key)).id
    return talk


@sync_to_async
def endpoint_of(talk: Talk) -> Endpoint:
    return Endpoint.objects.get(agent_id=talk.agent)


def streams_of(talk: Talk) -> QuerySet[DeliveryStream]:
    return DeliveryStream.objects.filter(conversation_id=talk.id)


# Triggers.


async def test_an_agent_that_wants_mentions_is_called_for_mentions(connection: Connection) -> None:
    talk = await group(connection, trigger="mention")
    assert await talk.say(connection) == 0
    assert await talk.say(connection, mentions=["someone-else"]) == 0
    assert await claim(connection) == []
    assert await talk.say(connection, mentions=["someone-else", talk.agent]) == 1
    stream = await claim_one(connection)
    assert (stream.cursor, stream.call_seq) == (0, 3)  # what was said before comes with it


async def test_an_agent_that_mentions_itself_calls_nobody(connection: Connection) -> None:
    talk = await group(connection, trigger="mention")
    assert await talk.say(connection, talk.agent, mentions=[talk.agent]) == 0


async def test_another_ones_mention_in_the_same_batch_does_not_make_a_message_a_mention(
    connection: Connection,
) -> None:
    talk, other = await group(connection, trigger="mention"), await group(connection, trigger="mention")
    async with connection.transaction():
        news = [
            marking.News(talk.id, 1, talk.user, True, []),
            marking.News(other.id, 1, other.user, True, [talk.agent]),
        ]
        assert (await connection.run(*marking.mark_due(news)))[-1].count == 0


async def test_an_agent_without_trigger_is_never_called(connection: Connection) -> None:
    talk = await group(connection, trigger="none")
    assert await talk.say(connection, mentions=[talk.agent]) == 0


async def test_a_conversation_may_have_another_trigger_than_the_agent(connection: Connection) -> None:
    talk = await group(connection, trigger="none")
    streams = streams_of(talk)
    await sync_to_async(streams.update)(trigger="all")
    assert await talk.say(connection) == 1


# Bursts.


async def test_a_burst_becomes_one_call_when_it_is_over(connection: Connection) -> None:
    talk = await group(connection, debounce_ms=400)
    await talk.say(connection)
    first = (await talk.stream()).due_at
    await asyncio.sleep(0.05)  # the quiet between two messages is what is measured
    await talk.say(connection)
    second = (await talk.stream()).due_at
    assert first is not None
    assert second is not None
    assert second > first
    assert await claim(connection) == []


async def test_a_burst_without_end_is_delivered_all_the_same(connection: Connection) -> None:
    talk = await group(connection, debounce_ms=1_000)
    await talk.say(connection)
    streams = streams_of(talk)
    ago = datetime.now(UTC) - timedelta(seconds=9.5)
    await sync_to_async(streams.update)(waiting_since=ago)
    await talk.say(connection)
    due_at = (await talk.stream()).due_at
    assert due_at is not None
    # Ten times the debounce after the first message, though a second of quiet has not come.
    assert (due_at - ago).total_seconds() < 10.6


async def test_groups_have_a_debounce_of_their_own_and_dms_have_none(connection: Connection) -> None:
    quiet = await group(connection, debounce_ms=None)
    await quiet.say(connection)
    assert await claim(connection) == []
    talk = Talk()
    await talk.begin()
    await talk.say(connection)
    assert (await claim_one(connection)).agent_id == talk.agent


# The breaker.


async def fail(connection: Connection, talk: Talk, times: int = 1) -> None:
    """Let a call of the stream fail so many times."""
    for _ in range(times):
        stream = await claim_one(connection)
        await finish(connection, failed(stream, 0.0))


async def finish(connection: Connection, *finishes: Finish) -> tuple[set[int], set[int]]:
    held = await store.finish(connection, finishes)
    return await breaker.note_outcomes(connection, finishes, held, BREAKER)


async def test_failures_in_a_row_open_the_breaker_and_set_the_streams_aside(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    await fail(connection, talk, 2)
    assert (await endpoint_of(talk)).opened_at is None
    await fail(connection, talk)
    opened = await endpoint_of(talk)
    assert (opened.failures, opened.last_error) == (3, "no ?")
    assert opened.opened_at is not None
    assert await look(connection) == ([], 1)
    blocked = await talk.stream()
    assert blocked.blocked
    assert blocked.due_at is not None
    assert blocked.due_at > datetime.now(UTC) + timedelta(days=2)
    assert await look(connection) == ([], 0)


async def test_a_success_in_between_starts_the_count_again(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    await fail(connection, talk, 2)
    await finish(connection, delivered(await claim_one(connection)))
    await talk.say(connection)
    await fail(connection, talk, 2)
    endpoint = await endpoint_of(talk)
    assert (endpoint.failures, endpoint.opened_at) == (2, None)


async def test_failures_of_one_batch_with_an_answer_among_them_are_not_in_a_row(
    connection: Connection,
) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    bad, good = failed(stream, 0.0), delivered(stream)
    batch = [bad, bad, bad, good, bad]
    assert await breaker.note_outcomes(connection, batch, {stream.id}, BREAKER) == (set(), set())
    endpoint = await endpoint_of(talk)
    assert (endpoint.failures, endpoint.opened_at, endpoint.last_error) == (1, None, "no ?")


async def open_breaker(connection: Connection) -> Talk:
    """A group whose agent's breaker is open and whose stream is set aside; a second conversation of that agent waits too."""
    talk = await group(connection)
    await talk.say(connection)
    await fail(connection, talk, 3)
    assert await look(connection) == ([], 1)
    return talk


async def test_a_probe_lets_one_call_through_and_the_next_one_waits_twice_as_long(
    connection: Connection,
) -> None:
    talk = await open_breaker(connection)
    other = Talk()
    other.agent, other.key = talk.agent, ":".join(sorted((talk.agent, other.user)))
    other.id = await sync_to_async(make_dm)(other.key)
    await other.say(connection)
    assert await look(connection) == ([], 1)
    await sync_to_async(Endpoint.objects.filter(agent_id=talk.agent).update)(probe_at=datetime.now(UTC))
    assert await breaker.bring_probes(connection) == 1
    probe = await claim_one(connection)
    assert probe.agent_id == talk.agent
    endpoint = await endpoint_of(talk)
    assert endpoint.probe_pause == 120
    await finish(connection, failed(probe, 0.0))
    assert (await endpoint_of(talk)).opened_at is not None
    assert await look(connection) == ([], 1)


async def test_a_probe_that_succeeds_closes_the_breaker_and_everything_comes_back(
    connection: Connection,
) -> None:
    talk = await open_breaker(connection)
    await talk.say(connection)
    await sync_to_async(Endpoint.objects.filter(agent_id=talk.agent).update)(probe_at=datetime.now(UTC))
    await breaker.bring_probes(connection)
    opened, closed = await finish(connection, delivered(await claim_one(connection)))
    endpoint = await endpoint_of(talk)
    assert (opened, closed) == (set(), {endpoint.id})
    assert (endpoint.failures, endpoint.opened_at, endpoint.probe_at) == (0, None, None)
    assert (await claim_one(connection)).call_seq == 2


async def test_released_streams_come_back_over_time(connection: Connection) -> None:
    talk = await open_breaker(connection)
    endpoint = await endpoint_of(talk)
    await breaker.release_blocked(connection, [endpoint.id])
    stream = await talk.stream()
    assert not stream.blocked
    assert stream.due_at is not None
    assert stream.due_at < datetime.now(UTC) + timedelta(seconds=1)


async def test_a_stream_that_would_be_given_up_has_a_last_try_though_the_breaker_is_open(
    connection: Connection,
) -> None:
    talk = await open_breaker(connection)
    streams = streams_of(talk)
    long_ago = datetime.now(UTC) - timedelta(days=4)
    await sync_to_async(streams.update)(first_failed_at=long_ago, due_at=datetime.now(UTC))
    assert (await claim_one(connection)).first_failed_at == long_ago


async def test_an_operator_closes_a_breaker(connection: Connection) -> None:
    talk = await open_breaker(connection)
    await sync_to_async(endpoints.close_breaker)((await endpoint_of(talk)).id)
    assert (await claim_one(connection)).call_seq == 1


async def test_an_open_endpoint_does_not_keep_others_waiting(connection: Connection) -> None:
    await open_breaker(connection)
    talk = await group(connection)
    await talk.say(connection)
    assert (await claim_one(connection)).agent_id == talk.agent


async def test_an_endpoint_has_no_more_in_flight_than_it_may(connection: Connection) -> None:
    talk = await group(connection, max_in_flight=1)
    other = Talk()
    other.agent, other.key = talk.agent, ":".join(sorted((talk.agent, other.user)))
    other.id = await sync_to_async(make_dm)(other.key)
    await talk.say(connection)
    await other.say(connection)
    first = await claim_one(connection)
    assert await claim(connection, held={first.endpoint_id: 1}) == []


async def test_a_disabled_endpoint_keeps_its_cursors(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    endpoint = await endpoint_of(talk)
    await sync_to_async(endpoints.disable)(endpoint.id, "gone", url=endpoint.url)
    await talk.say(connection)
    assert await claim(connection) == []
    assert (await endpoint_of(talk)).disabled_reason == "gone"
    await sync_to_async(registration.update_agent)(talk.agent, enabled=True)
    assert (await endpoint_of(talk)).disabled_reason == ""
    stream = await claim_one(connection)
    assert (stream.cursor, stream.call_seq) == (0, 2)


# Handovers, holds, cancels.


async def test_a_handover_rests_the_agents_and_brings_them_everything_afterwards(
    connection: Connection,
) -> None:
    talk = await group(connection)
    await talk.say(connection)
    _, changed = await sync_to_async(members.hand_over)(talk.key, talk.user)
    assert changed
    await talk.say(connection)
    assert await claim(connection) == []
    assert await sync_to_async(members.hand_over)(talk.key, talk.user) is not None
    await sync_to_async(members.hand_over)(talk.key, None)
    stream = await claim_one(connection)
    assert (stream.cursor, stream.call_seq) == (0, 2)


async def test_a_call_under_way_at_a_handover_ends_and_no_other_follows(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    await talk.say(connection)
    await sync_to_async(members.hand_over)(talk.key, talk.user)
    assert await store.finish(connection, [delivered(stream)]) == {stream.id: None}
    assert (await talk.stream()).cursor == 1
    await sync_to_async(members.hand_over)(talk.key, None)
    assert (await claim_one(connection)).cursor == 1


async def test_an_agent_that_joins_during_a_handover_rests_too(connection: Connection) -> None:
    talk = await group(connection)
    await sync_to_async(members.hand_over)(talk.key, talk.user)
    await sync_to_async(members.remove)(talk.key, talk.agent)
    await sync_to_async(members.add)(talk.key, {talk.agent: "member"})
    await talk.say(connection)
    assert await claim(connection) == []


async def test_a_conversation_is_not_handed_to_an_agent(connection: Connection) -> None:
    talk = await group(connection)
    with pytest.raises(InvalidRequest):
        await sync_to_async(members.hand_over)(talk.key, talk.agent)


async def test_a_held_stream_keeps_its_cursor_until_the_next_message(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    assert await store.finish(connection, [Finish(stream, Ending.HOLD)]) == {stream.id: None}
    assert await claim(connection) == []
    await talk.say(connection)
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq, again.attempt) == (0, 2, 1)


async def test_a_cancel_is_kept_until_whoever_makes_the_run_sees_it(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    assert not await store.request_cancel(connection, talk.id, uuid4())
    assert await store.wanted_to_end(connection, [stream]) == {}
    assert await store.request_cancel(connection, talk.id, stream.run_id)
    assert await store.wanted_to_end(connection, [stream]) == {stream.id: (True, False)}
    await store.finish(connection, [delivered(stream)])
    assert not await store.request_cancel(connection, talk.id, stream.run_id)


async def test_a_run_whose_dispatcher_died_is_known_to_the_next_one(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    lost = await claim_one(connection, lease_seconds=0.0)
    assert lost.lost_run_id is None
    again = await claim_one(connection, lease_seconds=0.0)
    assert (again.lost_run_id, again.lost_run_cancelled) == (lost.run_id, False)
    await store.request_cancel(connection, talk.id, again.run_id)
    last = await claim_one(connection)
    assert (last.lost_run_id, last.lost_run_cancelled) == (again.run_id, True)


async def test_news_during_a_call_are_seen_by_who_makes_it(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    await talk.say(connection)
    assert await store.wanted_to_end(connection, [stream]) == {stream.id: (False, True)}


# Replays and repairs.


async def delivered_up_to(connection: Connection, talk: Talk, seq: int) -> DeliveryStream:
    for _ in range(seq):
        await talk.say(connection)
    await store.finish(connection, [delivered(await claim_one(connection))])
    return await talk.stream()


async def test_a_range_is_delivered_once_more_and_the_cursor_stays(connection: Connection) -> None:
    talk = await group(connection)
    stream = await delivered_up_to(connection, talk, 5)
    await sync_to_async(operations.redeliver)(stream, 2, 3)
    await talk.say(connection)
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq) == (1, 3)
    await store.finish(connection, [delivered(again)])
    after = await talk.stream()
    assert (after.cursor, after.replay_to) == (5, None)
    following = await claim_one(connection)
    assert (following.cursor, following.call_seq) == (5, 6)


async def test_a_replay_survives_failures(connection: Connection) -> None:
    talk = await group(connection)
    stream = await delivered_up_to(connection, talk, 3)
    await sync_to_async(operations.redeliver)(stream, 1, 2)
    await store.finish(connection, [failed(await claim_one(connection), 0.0)])
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq, again.attempt) == (0, 2, 2)


async def test_a_rewind_delivers_everything_from_there(connection: Connection) -> None:
    talk = await group(connection)
    stream = await delivered_up_to(connection, talk, 3)
    await sync_to_async(operations.rewind)(stream, 2)
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq) == (1, 3)


async def test_a_poison_message_is_skipped(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    await talk.say(connection)
    await store.finish(connection, [failed(stream, 3_600.0)])
    await sync_to_async(operations.skip)(await talk.stream())
    again = await claim_one(connection)
    assert (again.cursor, again.call_seq) == (1, 2)
    assert again.call_id != stream.call_id
    await store.finish(connection, [delivered(again)])
    with pytest.raises(InvalidRequest):
        await sync_to_async(operations.skip)(await talk.stream())


async def test_a_retry_is_made_now_instead_of_later(connection: Connection) -> None:
    talk = await group(connection)
    await talk.say(connection)
    await store.finish(connection, [failed(await claim_one(connection), 3_600.0)])
    assert await claim(connection) == []
    assert await sync_to_async(operations.retry_now)(streams_of(talk)) == 1
    assert (await claim_one(connection)).attempt == 2


# Secrets.


def test_a_rotated_secret_signs_beside_the_new_one_until_it_expires() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old = secrets.seal("whsec_b2xk")
    new, stored = secrets.rotate([old], now, 60)
    assert open_secrets(stored, now) == [new, "whsec_b2xk"]
    assert open_secrets(stored, now + timedelta(seconds=61)) == [new]
    newest, stored = secrets.rotate(stored, now + timedelta(seconds=1), 60)
    assert open_secrets(stored, now + timedelta(seconds=2)) == [newest, new, "whsec_b2xk"]
    assert open_secrets(stored, now + timedelta(seconds=60.5)) == [newest, new]


def test_headers_and_keys_are_sealed() -> None:
    sealed = secrets.seal_private(Private({"X-Key": "geheim"}, "sk-1"))
    assert "geheim" not in sealed
    assert open_private(sealed) == Private({"X-Key": "geheim"}, "sk-1")
    assert secrets.seal_private(Private()) == ""
    assert open_private("") == Private()


# Subscriptions.


async def subscribe(talk: Talk, event: str = "message.created", **filters: object) -> int:
    """A subscription to the talk's conversation alone, unless other filters say otherwise."""
    options = {"key_prefix": talk.key, **filters}
    subscribed = await sync_to_async(subscriptions.subscribe)(event, URL, **options)
    return subscribed.subscription.id


async def test_a_subscription_is_told_of_every_message_from_its_first_one_on(connection: Connection) -> None:
    talk = await group(connection, trigger="none")
    await talk.say(connection)
    endpoint_id = await subscribe(talk)
    await talk.say(connection, kind="system")
    await talk.say(connection, talk.agent)
    stream = await claim_one(connection)
    assert (stream.endpoint_id, stream.agent_id, stream.event) == (endpoint_id, None, "message.created")
    assert (stream.cursor, stream.call_seq) == (1, 3)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, 1),
        ({"key_prefix": "nothing-like-it"}, 0),
        ({"conversation_kinds": ["group"]}, 1),
        ({"conversation_kinds": ["dm"]}, 0),
        ({"participant_id": "nobody-of-them"}, 0),
    ],
)
async def test_filters_of_subscriptions(
    connection: Connection, filters: dict[str, object], expected: int
) -> None:
    talk = await group(connection, trigger="none")
    await subscribe(talk, **filters)
    assert await talk.say(connection) == expected


async def test_a_subscription_that_follows_a_participant_stops_when_it_leaves(
    connection: Connection,
) -> None:
    talk = await group(connection, trigger="none")
    await subscribe(talk, participant_id=talk.user)
    assert await talk.say(connection) == 1
    await sync_to_async(members.remove)(talk.key, talk.user)
    assert await talk.say(connection, talk.agent) == 0


async def test_a_disabled_subscription_is_told_later(connection: Connection) -> None:
    talk = await group(connection, trigger="none")
    subscribed = await sync_to_async(subscriptions.subscribe)(
        "message.created", URL, key_prefix=talk.key, enabled=False
    )
    await talk.say(connection)
    assert await claim(connection) == []
    await sync_to_async(subscriptions.update_subscription)(subscribed.subscription.public_id, enabled=True)
    assert (await claim_one(connection)).cursor == 0


async def test_inbox_updates_are_coalesced(connection: Connection) -> None:
    talk = await group(connection, trigger="none")
    await subscribe(talk, "inbox.updated")
    await talk.say(connection)
    await talk.say(connection)
    stream = await claim_one(connection)
    assert await claim(connection) == []
    await store.finish(connection, [delivered(stream)])
    assert await claim(connection) == []
    assert (await connection.run(*marking.mark_inbox(talk.id, [talk.user])))[-1].count == 1
    assert (await claim_one(connection)).call_seq == 3


async def test_a_read_tells_a_subscription_though_nothing_was_said_since_it_came(
    connection: Connection,
) -> None:
    talk = await group(connection, trigger="none")
    await talk.say(connection)
    await subscribe(talk, "inbox.updated", participant_id=talk.user)
    assert (await connection.run(*marking.mark_inbox(talk.id, ["someone-else"])))[-1].count == 0
    assert (await connection.run(*marking.mark_inbox(talk.id, [talk.user])))[-1].count == 1
    assert (await claim_one(connection)).event == "inbox.updated"
