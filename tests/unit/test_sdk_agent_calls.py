"""What the agent helper makes of a call."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from fleetlm_client.agent import Call, CallInvalid, Participant

from tests.e2e.calls import AGENT, ALICE, call, said


def test_every_field_of_the_wire_is_there() -> None:
    body = call(said(1, ALICE, "hello"), said(2, AGENT, "Hi!"), said(3, ALICE, "and now?"), new_from_seq=3)
    typed = Call.from_json({**body, "dm_key": None, "new_in_a_later_version": 1})
    assert typed.raw["new_in_a_later_version"] == 1
    assert (typed.id, typed.run_id, typed.type) == (body["id"], body["run_id"], "message.created")
    assert (typed.key, typed.dm_key, typed.epoch) == (body["key"], None, body["epoch"])
    assert (typed.reply_url, typed.timestamp) == (body["reply_url"], body["timestamp"])
    assert typed.participants == (
        Participant(ALICE, "user", "Alice"),
        Participant(AGENT, "agent", ""),
    )
    first = typed.conversation[0]
    given = body["conversation"][0]
    assert {name: getattr(first, name) for name in given} == given
    with pytest.raises(FrozenInstanceError):
        first.text = "other"  # type: ignore[misc]


def test_new_is_what_others_have_said() -> None:
    typed = Call.from_json(
        call(
            said(1, ALICE, "long ago"),
            said(2, ALICE, "hello"),
            said(3, AGENT, "one moment"),
            said(4, "system", "bob has taken over", "system"),
            said(5, ALICE, "", "redaction"),
            said(6, "bob", "there"),
            new_from_seq=2,
        )
    )
    assert [message.seq for message in typed.new_messages] == [2, 6]
    assert typed.text == "hello\nthere"


def test_the_least_that_is_a_call() -> None:
    typed = Call.from_json(
        {"agent_id": "bot", "conversation": [{"seq": 7, "sender_id": "alice", "text": "hi"}]}
    )
    assert (typed.id, typed.new_from_seq, typed.text) == ("", 7, "hi")
    assert Call.from_json({"agent_id": "bot", "conversation": []}).new_messages == []


@pytest.mark.parametrize(
    "body", [None, [], "call", {}, {"conversation": []}, {"agent_id": "bot", "conversation": [{"seq": 1}]}]
)
def test_what_is_no_call_is_said(body: Any) -> None:
    with pytest.raises(CallInvalid, match="not a call"):
        Call.from_json(body)
