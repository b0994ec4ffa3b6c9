"""`manage.py replay`: what it prints, what it has delivered again, and what it refuses."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import uuid4

import orjson
import pytest
from django.core.management import CommandError, call_command

from agents import registration, stream_queries, subscriptions
from agents.models import DeliveryStream, Endpoint
from conversations.models import Conversation, Message
from runtime import members

URL = "http://127.0.0.1:9/agent"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:12]}"


def run(*arguments: object) -> str:
    output = StringIO()
    call_command("replay", *(str(one) for one in arguments), stdout=output)
    return output.getvalue()


def converse(agent_id: str, messages: int = 3) -> DeliveryStream:
    """A dm of so many messages, all of them delivered; its stream."""
    user_id = unique("u")
    members.ensure_dm(key := f"{agent_id}:{user_id}")
    conversation = Conversation.objects.get(key=key)
    for seq in range(1, messages + 1):
        Message.objects.create(
            conversation=conversation,
            seq=seq,
            countable=seq,
            sender_id=user_id,
            text=f"message {seq}",
            created_at=datetime.now(UTC),
        )
    Conversation.objects.filter(id=conversation.id).update(last_seq=messages, countable=messages)
    DeliveryStream.objects.filter(conversation=conversation).update(cursor=messages, wanted_seq=messages)
    return DeliveryStream.objects.get(conversation=conversation)


@pytest.fixture
def agent_id() -> str:
    registration.register_agent(agent_id := unique("a"), URL)
    return agent_id


@pytest.fixture
def stream(agent_id: str) -> DeliveryStream:
    return converse(agent_id)


def fail(stream: DeliveryStream, call_seq: int = 1) -> None:
    """Have it parked for a call that reaches to this seq."""
    DeliveryStream.objects.filter(id=stream.id).update(
        cursor=0,
        call_id=uuid4(),
        call_seq=call_seq,
        attempts=12,
        parked_at=datetime.now(UTC),
        park_reason="exhausted",
    )


def now(stream: DeliveryStream) -> DeliveryStream:
    return DeliveryStream.objects.get(id=stream.id)


def state(stream: DeliveryStream) -> str:
    return stream_queries.state(now(stream))


def test_it_prints_a_conversation(stream: DeliveryStream) -> None:
    key = stream.conversation.key
    texts = [orjson.loads(line)["text"] for line in run(key).splitlines()]
    assert texts == ["message 1", "message 2", "message 3"]
    (line,) = run(":".join(reversed(key.split(":"))), "--after", 1, "--before", 3).splitlines()
    assert (orjson.loads(line)["seq"], orjson.loads(line)["conversation"]) == (2, key)
    assert len(run(key, "--after", 0).splitlines()) == 3
    assert run(key, "--before", 0) == ""


def test_it_rewinds(stream: DeliveryStream) -> None:
    said = run(stream.conversation.key, "--agent", stream.agent_id, "--from-seq", 2)
    assert "from message 2 on" in said
    assert (now(stream).cursor, state(stream)) == (1, "due")


def test_it_delivers_a_range_again(stream: DeliveryStream) -> None:
    run(stream.conversation.key, "--agent", stream.agent_id, "--from-seq", 1, "--to-seq", 2)
    after = now(stream)
    assert (after.cursor, after.replay_cursor, after.replay_to, state(stream)) == (3, 0, 2, "due")


def test_it_rewinds_a_subscription(stream: DeliveryStream) -> None:
    subscription = subscriptions.subscribe("message.created", URL).subscription
    key = stream.conversation.key
    with pytest.raises(CommandError, match="Nothing of this conversation"):
        run(key, "--subscription", subscription.public_id, "--from-seq", 1)
    mine = DeliveryStream.objects.create(
        endpoint=Endpoint.objects.get(id=subscription.id),
        conversation=stream.conversation,
        cursor=3,
        wanted_seq=3,
    )
    assert f"subscription-{subscription.public_id}" in run(
        key, "--subscription", subscription.public_id, "--from-seq", 3
    )
    assert (now(mine).cursor, state(mine)) == (2, "due")
    assert now(stream).cursor == 3
    subscriptions.unsubscribe(subscription.public_id)


def test_it_pauses_resumes_retries_and_skips_one(stream: DeliveryStream) -> None:
    key, agent = stream.conversation.key, ("--agent", stream.agent_id)
    assert "paused" in run(key, *agent, "--pause")
    assert state(stream) == "paused"
    with pytest.raises(CommandError, match="--resume"):
        run(key, *agent, "--retry")
    assert "idle" in run(key, *agent, "--resume")
    fail(stream)
    assert "due, at 1" in run(key, *agent, "--skip")
    later = datetime.now(UTC) + timedelta(hours=1)
    DeliveryStream.objects.filter(id=stream.id).update(due_at=later, first_failed_at=datetime.now(UTC))
    run(key, *agent, "--retry")
    due_at = now(stream).due_at
    assert due_at is not None
    assert due_at < later


def test_it_calls_again_for_all_since_a_time(stream: DeliveryStream, agent_id: str) -> None:
    other, old = converse(agent_id), converse(agent_id)
    Message.objects.filter(conversation_id=old.conversation_id).update(
        created_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    Message.objects.filter(conversation_id=other.conversation_id, seq=1).update(
        created_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    since = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "in 2 conversations" in run("--agent", agent_id, "--since", since, "--rate", 0.5)
    assert (now(stream).cursor, now(other).cursor, now(old).cursor) == (0, 1, 3)
    assert (state(stream), state(other), state(old)) == ("due", "due", "idle")
    first, second = now(stream).due_at, now(other).due_at
    assert first is not None
    assert second is not None
    assert second - first == timedelta(seconds=2)
    assert "in 0 conversations" in run("--agent", agent_id, "--since", since)


def test_it_sees_to_all_that_is_parked(stream: DeliveryStream, agent_id: str) -> None:
    other = converse(agent_id)
    for one in (stream, other):
        fail(one, call_seq=2)
    assert "resumed in 2" in run("--agent", agent_id, "--resume", "--rate", 0.1)
    assert (state(stream), state(other)) == ("due", "due")
    for one in (stream, other):
        fail(one, call_seq=2)
    assert "skipped in 2" in run("--agent", agent_id, "--skip")
    assert (now(stream).cursor, now(other).cursor) == (2, 2)
    assert "retried in 2" in run("--agent", agent_id, "--retry")
    assert "paused in 2" in run("--agent", agent_id, "--pause")
    assert (state(stream), state(other)) == ("paused", "paused")
    assert "resumed in 0" in run("--agent", agent_id, "--resume")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "by its key"),
        (["KEY", "--from-seq", "1"], "--from-seq needs --agent"),
        (["KEY", "--skip"], "--skip needs --agent"),
        (["KEY", "--agent", "AGENT"], "Say what to do"),
        (["KEY", "--agent", "AGENT", "--skip", "--pause"], "Say what to do"),
        (["KEY", "--agent", "nobody", "--from-seq", "1"], "no such agent"),
        (["KEY", "--subscription", "0199c1f0-7d1c-7b52-9d2e-3f2a8c6b1e10", "--pause"], "no such agent"),
        (["KEY", "--subscription", "mine", "--pause"], "UUID"),
        (["KEY", "--agent", "AGENT", "--from-seq", "0"], "1 to 3"),
        (["KEY", "--agent", "AGENT", "--from-seq", "4"], "1 to 3"),
        (["KEY", "--agent", "AGENT", "--from-seq", "2", "--to-seq", "1"], "first before the last"),
        (["KEY", "--agent", "AGENT", "--from-seq", "9" * 30], "whole number"),
        (["KEY", "--agent", "AGENT", "--from-seq", "-1"], "whole number"),
        (["KEY", "--agent", "AGENT", "--skip"], "nothing"),
        (["KEY", "--agent", "AGENT", "--pause", "--to-seq", "1"], "goes with --from-seq"),
        (["KEY", "--agent", "AGENT", "--after", "1", "--pause"], "printing"),
        (["KEY", "--agent", "AGENT", "--since", "2026-01-01"], "leave the key out"),
        (["nothing:here"], "no conversation"),
        (["a:b:c"], "dm key"),
        (["nothing:here", "--agent", "AGENT", "--pause"], "Nothing of this conversation"),
        (["--agent", "AGENT", "--from-seq", "1"], "needs the key"),
        (["--agent", "AGENT", "--since", "yesterday"], "2026-11-01T00:00:00Z"),
        (["--agent", "AGENT", "--since", "2026-01-01", "--rate", "0"], "per second"),
        (["--agent", "AGENT", "--since", "2026-01-01", "--rate", "nan"], "per second"),
        (["--agent", "AGENT", "--pause", "--rate", "1"], "--rate goes with"),
        (
            ["--agent", "AGENT", "--subscription", "0199c1f0-7d1c-7b52-9d2e-3f2a8c6b1e10", "--pause"],
            "not both",
        ),
    ],
)
def test_it_says_what_is_wrong_and_changes_nothing(
    stream: DeliveryStream, arguments: list[str], says: str
) -> None:
    names = {"KEY": stream.conversation.key, "AGENT": stream.agent_id}
    with pytest.raises(CommandError, match=says):
        run(*(names.get(one, one) for one in arguments))
    assert (now(stream).cursor, state(stream)) == (3, "idle")


def test_a_rewind_of_inbox_updates_is_refused(stream: DeliveryStream) -> None:
    subscription = subscriptions.subscribe("inbox.updated", URL, key_prefix="none").subscription
    with pytest.raises(CommandError, match="newest state"):
        run("--subscription", subscription.public_id, "--since", "2026-01-01")
    subscriptions.unsubscribe(subscription.public_id)
