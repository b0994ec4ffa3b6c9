"""Delivery streams and attempts over REST: what operators see, and what they do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from agents.models import AgentEndpoint, Attempt, DeliveryStream
from tests.integration.server import Client, enquote, unique

pytestmark = pytest.mark.usefixtures("healthy")

URL = "http://127.0.0.1:9/agent"


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of a test, and how its streams are asked for."""

    api: Client
    id: str

    @property
    def path(self) -> str:
        return f"/api/agents/{self.id}"

    def converse(self, messages: int = 1) -> str:
        """A dm with so many messages; its key."""
        key = ":".join(sorted((self.id, user := unique("u"))))
        for number in range(messages):
            self.api.say(key, user, str(number + 1))
        return key

    def rows(self, key: str) -> Any:
        return DeliveryStream.objects.filter(agent_id=self.id, conversation__key=key)

    def delivered(self, key: str, messages: int = 1) -> str:
        """All of it is taken for delivered."""
        self.rows(key).update(cursor=messages, due_at=None, waiting_since=None)
        return key

    def exhausted(self, key: str, **fields: Any) -> str:
        """Its call has failed for long."""
        now = datetime.now(UTC)
        fields = {"call_id": uuid4(), "call_seq": 1, "attempts": 30, "first_failed_at": now, **fields}
        self.rows(key).update(due_at=None, parked_at=now, park_reason="exhausted", last_error="no", **fields)
        return key

    def get(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.ok("GET", f"{self.path}/streams/{key}")
        return found

    def act(self, key: str, action: str, **body: Any) -> dict[str, Any]:
        done: dict[str, Any] = self.api.ok("POST", f"{self.path}/streams/{key}/{action}", body)
        assert done == self.get(key)
        return done

    def refusal(self, key: str, action: str, body: Any = None) -> tuple[int, str | None]:
        return self.api.post(f"{self.path}/streams/{key}/{action}", body).verdict


@pytest.fixture
def agent(api: Client) -> Agent:
    return Agent(api, api.ok("POST", "/api/agents", {"id": unique("agent"), "url": URL})["id"])


def test_a_stream_says_where_it_is_and_what_it_waits_for(agent: Agent) -> None:
    key = agent.converse(3)
    found = agent.get(key)
    row = agent.rows(key).get()
    assert found == {
        "key": key,
        "cursor": 0,
        "last_seq": 3,
        "lag": 3,
        "state": "due",
        "trigger": None,
        "due_at": found["due_at"],
        "waiting_since": found["waiting_since"],
        "attempts": 0,
        "last_error": "",
        "parked_at": None,
        "park_reason": None,
        "replay": None,
        "handed_over": False,
        "run_id": None,
    }
    assert datetime.fromisoformat(found["due_at"]) == row.due_at
    run_id = uuid4()
    later = datetime.now(UTC) + timedelta(minutes=1)
    agent.rows(key).update(lease_id=uuid4(), run_id=run_id, due_at=later, attempts=1)
    assert agent.get(key).items() >= {"state": "calling", "run_id": str(run_id), "attempts": 1}.items()
    agent.exhausted(key, lease_id=None)
    assert agent.get(key).items() >= {"state": "parked", "park_reason": "exhausted", "run_id": None}.items()


def test_a_dm_is_found_by_either_order_of_its_key(agent: Agent) -> None:
    key = agent.converse()
    assert agent.get(enquote(":".join(reversed(key.split(":"))))) == agent.get(key)


def test_streams_are_listed_by_state_a_page_at_a_time(agent: Agent) -> None:
    keys = [agent.converse() for _ in range(5)]
    agent.exhausted(keys[1])
    agent.delivered(keys[2])
    agent.act(keys[3], "pause")
    agent.rows(keys[4]).update(first_failed_at=datetime.now(UTC))
    path = f"{agent.path}/streams"

    def listed(**query: object) -> list[str]:
        found = agent.api.ok("GET", path, **query)
        assert found["next"] is None
        return [stream["key"] for stream in found["streams"]]

    states = {"due": [0], "parked": [1], "idle": [2], "paused": [3], "retrying": [4], "blocked": []}
    for state, numbers in (states | {state: [] for state in ("calling", "handed_over", "disabled")}).items():
        assert listed(state=state) == [keys[number] for number in numbers], state
    first = agent.api.ok("GET", path, limit=3)
    assert [stream["key"] for stream in first["streams"]] == keys[:3]
    assert listed(limit=3, after=first["next"]) == keys[3:]
    assert first["streams"][0] == agent.get(keys[0])


@pytest.mark.parametrize(
    "query",
    [
        {"state": "sleeping"},
        {"after": -1},
        {"after": 2**70},
        {"limit": 0},
        {"limit": 10**9},
        {"x": 1},
        {"state": "\0"},
    ],
)
def test_a_list_that_cannot_be_is_refused(agent: Agent, query: dict[str, object]) -> None:
    assert agent.api.get(f"{agent.path}/streams", **query).verdict == (400, "invalid_request")


@pytest.mark.parametrize("key", ["nothing", "a:b", "%00", "a:b:c", "x" * 400, "%ff", "a%20b"])
def test_a_stream_that_is_not_there_is_not_found(agent: Agent, key: str) -> None:
    for method, suffix in (
        ("GET", ""),
        ("POST", "/pause"),
        ("POST", "/skip"),
        ("POST", "/resume"),
        ("POST", "/retry"),
    ):
        verdict = agent.api.call(method, f"{agent.path}/streams/{key}{suffix}").verdict
        assert verdict in ((404, "not_found"), (400, "invalid_request"))


def test_a_conversation_can_have_a_trigger_of_its_own(agent: Agent) -> None:
    key = agent.delivered(agent.converse())
    user = next(one for one in key.split(":") if one != agent.id)
    path = f"{agent.path}/streams/{key}"
    assert agent.api.ok("PATCH", path, {"trigger": "mention"})["trigger"] == "mention"
    agent.api.say(key, user)
    assert agent.get(key).items() >= {"state": "idle", "last_seq": 2, "lag": 0}.items()
    agent.api.say(key, user, f"@{agent.id}")
    assert agent.get(key).items() >= {"state": "due", "last_seq": 3, "lag": 2}.items()
    agent.delivered(key, 3)
    agent.api.ok("PATCH", path, {"trigger": "none"})
    agent.api.say(key, user, f"@{agent.id}")
    assert agent.get(key)["state"] == "idle"
    assert agent.api.ok("PATCH", path, {"trigger": None})["trigger"] is None
    agent.api.say(key, user)
    assert agent.get(key)["state"] == "due"


@pytest.mark.parametrize(
    "body", [{}, {"trigger": "never"}, {"trigger": 1}, {"trigger": None, "cursor": 5}, []]
)
def test_a_trigger_that_cannot_be_is_refused(agent: Agent, body: Any) -> None:
    key = agent.converse()
    assert agent.api.patch(f"{agent.path}/streams/{key}", body).verdict == (400, "invalid_request")


def test_a_pause_waits_for_its_end_and_loses_nothing(agent: Agent) -> None:
    key = agent.converse(2)
    user = next(one for one in key.split(":") if one != agent.id)
    agent.rows(key).update(lease_id=uuid4(), run_id=uuid4())
    paused = agent.act(key, "pause")
    assert (
        paused.items()
        >= {"state": "paused", "park_reason": "operator", "due_at": None, "run_id": None}.items()
    )
    agent.api.say(key, user)
    assert agent.act(key, "pause")["parked_at"] == paused["parked_at"]
    assert agent.get(key)["due_at"] is None
    resumed = agent.act(key, "resume")
    assert resumed.items() >= {"state": "due", "cursor": 0, "lag": 3, "park_reason": None}.items()
    assert agent.act(key, "resume")["state"] == "due"


def test_a_retry_is_brought_forward(agent: Agent) -> None:
    key = agent.converse()
    later = datetime.now(UTC) + timedelta(hours=3)
    agent.rows(key).update(due_at=later, first_failed_at=datetime.now(UTC), attempts=7, blocked=True)
    assert agent.get(key)["state"] == "blocked"
    retried = agent.act(key, "retry")
    assert (retried["state"], retried["attempts"]) == ("retrying", 7)
    assert datetime.fromisoformat(retried["due_at"]) < later - timedelta(hours=2)
    agent.act(key, "pause")
    assert agent.refusal(key, "retry") == (409, "conflict")


def test_its_own_answer_is_nothing_that_an_agent_has_still_to_be_given(agent: Agent) -> None:
    key = agent.delivered(agent.converse())
    agent.api.say(key, agent.id, "an answer")
    assert agent.get(key).items() >= {"state": "idle", "cursor": 1, "last_seq": 2, "lag": 0}.items()


@pytest.mark.parametrize(
    ("action", "body", "cursor"),
    [
        ("skip", {"seq": 3}, 3),
        ("rewind", {"from_seq": 1}, 0),
        ("redeliver", {"from_seq": 1, "to_seq": 2}, 2),
    ],
)
def test_a_pause_outlives_a_move_of_the_cursor(
    agent: Agent, action: str, body: dict[str, int], cursor: int
) -> None:
    key = agent.converse(4)
    agent.rows(key).update(cursor=2)
    paused = agent.act(key, "pause")
    moved = agent.act(key, action, **body)
    assert moved.items() >= {"state": "paused", "park_reason": "operator", "due_at": None}.items()
    assert (moved["cursor"], moved["parked_at"]) == (cursor, paused["parked_at"])
    resumed = agent.act(key, "resume")
    assert (resumed["state"], resumed["cursor"]) == ("due", cursor)


def test_a_skip_without_a_call_says_what_to_do(agent: Agent) -> None:
    key = agent.converse(3)
    refused = agent.api.post(f"{agent.path}/streams/{key}/skip", {})
    assert refused.verdict == (400, "invalid_request")
    message = refused.json["error"]["message"]
    assert "No call has been made" in message
    assert "messages 1 to 3 are still to be delivered" in message
    assert "say in seq up to which one" in message
    agent.delivered(key, 3)
    nothing = agent.api.post(f"{agent.path}/streams/{key}/skip", {}).json["error"]["message"]
    assert nothing == "There is nothing to skip: nothing is pending."


def test_messages_are_skipped(agent: Agent) -> None:
    key = agent.exhausted(agent.converse(4), call_seq=2)
    assert (
        agent.act(key, "skip").items()
        >= {"state": "due", "cursor": 2, "attempts": 0, "last_error": ""}.items()
    )
    assert agent.act(key, "skip", seq=3)["cursor"] == 3
    for seq in (None, 3, 5, 2**62):
        assert agent.refusal(key, "skip", {"seq": seq}) == (400, "invalid_request")
    assert agent.act(key, "skip", seq=4).items() >= {"state": "idle", "lag": 0}.items()


def test_a_stream_is_rewound(agent: Agent) -> None:
    key = agent.delivered(agent.converse(4), 4)
    assert agent.act(key, "rewind", from_seq=3).items() >= {"state": "due", "cursor": 2, "lag": 2}.items()
    assert agent.refusal(key, "rewind", {"from_seq": 4}) == (400, "invalid_request")
    assert agent.act(key, "rewind", from_seq=1)["cursor"] == 0


def test_a_range_is_delivered_again(agent: Agent) -> None:
    key = agent.delivered(agent.converse(4), 4)
    again = agent.act(key, "redeliver", from_seq=2, to_seq=3)
    assert again.items() >= {"state": "due", "cursor": 4, "replay": {"from": 2, "to": 3}}.items()
    assert agent.act(key, "skip").items() >= {"state": "idle", "cursor": 4, "replay": None}.items()


@pytest.mark.parametrize("seq", [0, -1, 5, 2**62, 2**63, 10**30, "1", 1.5, True, None, [1]])
def test_seqs_that_are_not_in_the_log_are_refused(agent: Agent, seq: Any) -> None:
    key = agent.delivered(agent.converse(4), 4)
    before = agent.get(key)
    assert agent.refusal(key, "rewind", {"from_seq": seq}) == (400, "invalid_request")
    assert agent.refusal(key, "redeliver", {"from_seq": seq, "to_seq": 4}) == (400, "invalid_request")
    assert agent.refusal(key, "redeliver", {"from_seq": 4, "to_seq": seq}) == (400, "invalid_request")
    assert agent.get(key) == before


@pytest.mark.parametrize("action", ["skip", "rewind", "redeliver"])
def test_bodies_that_say_something_else_are_refused(agent: Agent, action: str) -> None:
    key = agent.converse()
    for body, verdict in (
        ({"seqs": 1}, (400, "invalid_request")),
        ([], (400, "invalid_request")),
        (b"{", (400, "invalid_json")),
        (b"\0", (400, "invalid_json")),
    ):
        assert agent.refusal(key, action, body) == verdict


# All of an agent.


def test_parked_streams_are_resumed_those_first_that_were_parked_first(agent: Agent) -> None:
    keys = [agent.converse() for _ in range(4)]
    for hours, key in zip((1, 3, 2), keys, strict=False):
        agent.exhausted(key)
        agent.rows(key).update(parked_at=datetime.now(UTC) - timedelta(hours=hours))
    agent.act(keys[3], "pause")
    path = f"{agent.path}/resume"
    assert agent.api.ok("POST", path, {"limit": 1}) == {"resumed": 1, "parked": 2}
    assert [agent.get(key)["state"] for key in keys] == ["parked", "due", "parked", "paused"]
    assert agent.api.ok("POST", path) == {"resumed": 2, "parked": 0}
    assert [agent.get(key)["state"] for key in keys] == ["due", "due", "due", "paused"]
    assert agent.api.ok("POST", path) == {"resumed": 0, "parked": 0}
    for limit in (0, -1, 10**9, "1", 2**70, None):
        assert agent.api.post(path, {"limit": limit}).verdict == (400, "invalid_request")


def test_a_breaker_that_is_closed_brings_what_waited_for_it(agent: Agent) -> None:
    key = agent.converse()
    later = datetime.now(UTC) + timedelta(days=3)
    agent.rows(key).update(blocked=True, due_at=later, first_failed_at=datetime.now(UTC))
    AgentEndpoint.objects.filter(agent_id=agent.id).update(failures=10, opened_at=later, probe_at=later)
    assert agent.get(key)["state"] == "blocked"
    agent.api.ok("POST", f"{agent.path}/close-breaker")
    found = agent.get(key)
    assert found["state"] == "retrying"
    assert datetime.fromisoformat(found["due_at"]) < datetime.now(UTC) + timedelta(seconds=10)


def test_a_disabled_agents_streams_say_so_and_come_back(agent: Agent) -> None:
    key = agent.converse()
    agent.api.ok("PATCH", agent.path, {"enabled": False})
    assert agent.get(key).items() >= {"state": "disabled", "due_at": None}.items()
    agent.api.ok("PATCH", agent.path, {"enabled": True})
    assert agent.get(key)["state"] == "due"


# Attempts.


def attempt(agent: Agent, key: str, number: int, outcome: str, **fields: Any) -> Attempt:
    fields = {"from_seq": 1, "to_seq": 2, "duration_ms": 7, "call_id": uuid4(), "run_id": uuid4(), **fields}
    return Attempt.objects.create(stream=agent.rows(key).get(), number=number, outcome=outcome, **fields)


def test_attempts_are_listed_newest_first(agent: Agent, api: Client) -> None:
    one, other = agent.converse(), agent.converse()
    first = attempt(
        agent, one, 1, "refused", status=500, error="no", request="POST /\nx: …\n\n{}", response="500\n\nno"
    )
    second = attempt(agent, one, 2, "accepted", status=204)
    third = attempt(agent, other, 1, "unreachable", error="nobody")
    stranger = Agent(api, api.ok("POST", "/api/agents", {"id": unique("agent"), "url": URL})["id"])
    attempt(stranger, stranger.converse(), 1, "accepted")

    def listed(**query: object) -> list[int]:
        return [found["id"] for found in agent.api.ok("GET", f"{agent.path}/attempts", **query)["attempts"]]

    assert listed() == [third.id, second.id, first.id]
    assert listed(key=one) == listed(key=":".join(reversed(one.split(":")))) == [second.id, first.id]
    assert listed(outcome="unreachable") == [third.id]
    page = agent.api.ok("GET", f"{agent.path}/attempts", limit=1, key=one)
    assert page["next"] == second.id
    assert listed(limit=1, key=one, before=page["next"]) == [first.id]
    [shown] = agent.api.ok("GET", f"{agent.path}/attempts", outcome="refused")["attempts"]
    assert shown == {
        "id": first.id,
        "key": one,
        "call_id": str(first.call_id),
        "run_id": str(first.run_id),
        "number": 1,
        "from_seq": 1,
        "to_seq": 2,
        "outcome": "refused",
        "status": 500,
        "duration_ms": 7,
        "error": "no",
        "request": "POST /\nx: …\n\n{}",
        "response": "500\n\nno",
        "created_at": shown["created_at"],
    }


@pytest.mark.parametrize(
    "query",
    [{"outcome": "odd"}, {"key": "a:b:c"}, {"key": "\0"}, {"key": ""}, {"before": 2**64}, {"limit": 201}],
)
def test_attempts_that_cannot_be_are_refused(agent: Agent, query: dict[str, object]) -> None:
    assert agent.api.get(f"{agent.path}/attempts", **query).verdict == (400, "invalid_request")
