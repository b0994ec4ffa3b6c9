"""Many messages in one request: order, errors that stay alone, retries, and who may."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.server import Answer, Client, Server, unique

pytestmark = pytest.mark.usefixtures("healthy")


def log(key: str) -> str:
    return f"/api/conversations/{key}/messages"


def send(client: Client, key: str, messages: list[Any], **headers: str) -> Answer:
    return client.call("POST", f"{log(key)}/batch", {"messages": messages}, headers=headers)


def results(client: Client, key: str, messages: list[Any], **headers: str) -> list[dict[str, Any]]:
    """The results of a batch that is taken: one for each message, either a message or an error."""
    answer = send(client, key, messages, **headers)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json["results"]
    assert set(answer.json) == {"results"}
    assert len(found) == len(messages)
    assert all(set(one) in ({"message"}, {"error"}) for one in found)
    return found


def outcomes(found: list[dict[str, Any]]) -> list[int | str]:
    """Of each result the seq, or the error's code."""
    return [one["message"]["seq"] if "message" in one else one["error"]["code"] for one in found]


def texts(client: Client, key: str) -> list[str]:
    return [one["text"] for one in client.ok("GET", log(key), limit=200)["messages"]]


@pytest.fixture
def sender() -> str:
    return unique()


@pytest.fixture
def key(api: Client, sender: str) -> str:
    return api.group(sender, unique())


def test_the_order_of_the_request_is_the_order_of_the_log(api: Client, key: str, sender: str) -> None:
    sent = [{"sender_id": sender, "text": str(number)} for number in range(100)]
    assert outcomes(results(api, key, sent)) == list(range(1, 101))
    assert texts(api, key) == [one["text"] for one in sent]


def test_a_message_comes_back_as_one_that_was_sent_alone(api: Client, key: str, sender: str) -> None:
    body = {"sender_id": sender, "text": "x", "content": {"a": [1, None]}, "metadata": {"b": 1}}
    [found] = results(api, key, [body | {"client_id": "together"}])
    alone = api.post(log(key), body | {"client_id": "alone"}).json
    assert found["message"].keys() == alone.keys()
    own = {"id", "seq", "created_at", "client_id"}
    assert {name: found["message"][name] for name in alone.keys() - own} == {
        name: alone[name] for name in alone.keys() - own
    }
    stored = api.ok("GET", log(key))["messages"][0]
    assert found["message"] == stored | {"deduplicated": False}


def test_a_later_message_may_answer_an_earlier_one(api: Client, key: str, sender: str) -> None:
    sent = [{"sender_id": sender, "text": "x"}, {"sender_id": sender, "text": "y", "reply_to": 1}]
    assert results(api, key, sent)[1]["message"]["reply_to"] == 1
    assert outcomes(results(api, key, [{"sender_id": sender, "text": "x", "reply_to": 3}])) == [
        "invalid_request"
    ]


def test_each_message_fails_alone(api: Client, key: str, sender: str) -> None:
    good = {"sender_id": sender, "text": "good"}
    sent: list[tuple[Any, int | str]] = [
        (good, 1),
        ({"sender_id": sender}, "invalid_request"),
        ({"text": "nobody speaks"}, "invalid_request"),
        (good | {"text": 7}, "invalid_request"),
        (good | {"nobody_knows_this_key": 1}, "invalid_request"),
        ("text", "invalid_request"),
        (None, "invalid_request"),
        (good | {"sender_id": unique()}, "not_a_member"),
        (good | {"text": "\0"}, "invalid_request"),
        (good | {"text": "a" * (32 * 1_024 + 1)}, "too_large"),
        (good | {"content": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "invalid_request"),
        (good | {"client_id": "ü"}, "invalid_request"),
        (good | {"expected_seq": 0}, "seq_conflict"),
        (good | {"client_id": "c"}, 2),
        (good | {"client_id": "c"}, 2),
        (good | {"client_id": "c", "text": "another"}, "client_id_reused"),
        (good | {"expected_seq": 2}, 3),
    ]
    found = results(api, key, [body for body, _ in sent])
    assert outcomes(found) == [expected for _, expected in sent]
    assert texts(api, key) == ["good"] * 3
    assert found[3]["error"]["details"] == {"field": "text"}
    assert all(set(one["error"]) == {"code", "message", "details"} for one in found if "error" in one)


def test_a_body_that_is_not_json_is_refused_whole(api: Client, key: str, sender: str) -> None:
    good = b'{"sender_id": "%s", "text": "good"}' % sender.encode()
    for bad in (b'{"text": "\xff"}', b'{"text": "\\ud800"}', b"{", b'{"a":' * 5_000 + b"1" + b"}" * 5_000):
        body = b'{"messages": [' + good + b"," + bad + b"]}"
        assert api.call("POST", f"{log(key)}/batch", body).verdict == (400, "invalid_json"), bad[:30]
    assert texts(api, key) == []


def test_a_retry_of_the_whole_request_stores_nothing_twice(api: Client, key: str, sender: str) -> None:
    sent = [{"sender_id": sender, "text": str(n), "client_id": f"c{n}"} for n in range(5)]
    first = results(api, key, sent[:3])
    second = results(api, key, sent)
    assert outcomes(second) == [1, 2, 3, 4, 5]
    assert [one["message"]["deduplicated"] for one in second] == [True, True, True, False, False]
    assert [one["message"] | {"deduplicated": False} for one in second[:3]] == [
        one["message"] for one in first
    ]
    assert texts(api, key) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("header", ["import-7", '"import-7"'])
def test_an_idempotency_key_stands_for_client_ids(api: Client, key: str, sender: str, header: str) -> None:
    sent = [{"sender_id": sender, "text": "x"}, {"sender_id": sender, "text": "y", "client_id": "own"}]
    sent.append({"sender_id": sender, "text": "z"})
    for deduplicated in (False, True):
        found = results(api, key, sent, **{"Idempotency-Key": header})
        assert [one["message"]["client_id"] for one in found] == ["import-7-0", "own", "import-7-2"]
        assert [one["message"]["deduplicated"] for one in found] == [deduplicated] * 3
    assert texts(api, key) == ["x", "y", "z"]


@pytest.mark.parametrize("header", ['""', "a b", "a" * 121, "ü"])
def test_an_idempotency_key_that_is_none(api: Client, key: str, sender: str, header: str) -> None:
    sent = [{"sender_id": sender, "text": "x"}]
    assert send(api, key, sent, **{"Idempotency-Key": header}).verdict == (400, "invalid_request")
    longest = "a" * 120
    [found] = results(api, key, sent, **{"Idempotency-Key": longest})
    assert found["message"]["client_id"] == f"{longest}-0"


def test_a_dm_is_made_on_first_use(api: Client, sender: str) -> None:
    other = unique()
    sent = [{"sender_id": who, "text": who} for who in (sender, unique(), other)]
    found = results(api, f"{sender}:{other}", sent)
    assert outcomes(found) == [1, "not_a_member", 2]
    assert {one["message"]["dm_key"] for one in found if "message" in one} == {
        ":".join(sorted((sender, other)))
    }
    assert api.ok("GET", f"/api/participants/{other}")["kind"] == "user"


def test_a_group_is_not_made_by_writing_to_it(api: Client, sender: str) -> None:
    sent = [{"sender_id": sender, "text": "x"}]
    assert send(api, unique(), sent).verdict == (404, "conversation_not_found")


def test_a_token_speaks_where_it_is_a_member_and_as_itself(api: Client, sender: str) -> None:
    friend = unique()
    key = api.group(sender, friend)
    sent = [{"text": "mine"}, {"text": "his", "sender_id": friend}, {"text": "x", "kind": "system"}]
    assert outcomes(results(api.token(sender), key, sent)) == [1, "not_allowed", "not_allowed"]
    assert api.ok("GET", log(key))["messages"][0]["sender_id"] == sender


def test_an_outsider_does_not_learn_what_exists(api: Client, key: str, sender: str) -> None:
    outsider = unique()
    token = api.token(outsider)
    answers = {
        (answer.verdict, tuple(answer.json["error"]["details"]))
        for place in (key, unique(), f"{sender}:{unique()}", f"{outsider}:{unique()}")
        if (answer := send(token, place, [{"text": "x"}]))
    }
    assert {verdict for verdict, _ in answers} == {(403, "not_a_member")}
    assert len({names for (_, names) in answers}) <= 2
    assert texts(api, key) == []
    api.ok("DELETE", f"/api/conversations/{key}/participants/{sender}")
    assert send(api.token(sender), key, [{"text": "x"}]).verdict == (403, "not_a_member")


def test_a_closed_conversation_still_answers_retries(api: Client, key: str, sender: str) -> None:
    sent = [{"sender_id": sender, "text": str(n), "client_id": f"c{n}"} for n in range(2)]
    results(api, key, sent[:1])
    api.ok("POST", f"/api/conversations/{key}/close")
    assert outcomes(results(api, key, sent)) == [1, "conversation_closed"]


@pytest.mark.parametrize("messages", [[], None, {}, "x"])
def test_a_batch_has_messages(api: Client, key: str, messages: Any) -> None:
    assert send(api, key, messages).verdict == (400, "invalid_request")


def test_a_batch_holds_a_hundred_messages_at_most(api: Client, key: str, sender: str) -> None:
    answer = send(api, key, [{"sender_id": sender, "text": "x"}] * 101)
    assert answer.verdict == (400, "invalid_request")
    assert answer.json["error"]["details"] == {"field": "messages", "limit": 100}
    assert texts(api, key) == []


def test_a_batch_is_not_larger_than_a_request(api: Client, key: str, sender: str) -> None:
    answer = send(api, key, [{"sender_id": sender, "text": "x" * 30_000}] * 9)
    assert answer.verdict == (413, "too_large")
    assert texts(api, key) == []


def test_a_member_gets_them_live_in_order(api: Client, key: str, sender: str) -> None:
    with api.token(sender).socket() as socket:
        socket.join(f"conversation:{key}")
        results(api, key, [{"sender_id": sender, "text": str(number)} for number in range(20)])
        assert [socket.wait_for("message")["text"] for _ in range(20)] == [str(n) for n in range(20)]


@pytest.fixture(scope="module")
def narrow(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process in which two appends may wait, and that takes batches of three."""
    limits = {"FLEETLM_APPEND_QUEUE_ITEMS": "2", "FLEETLM_BATCH_MESSAGES": "3"}
    with Server(tmp_path_factory.mktemp("narrow") / "log", **limits) as running:
        yield running


def test_what_does_not_fit_into_the_queue_fails_alone(
    narrow: Server, admin_key: str, api: Client, key: str, sender: str
) -> None:
    client = Client(narrow, admin_key)
    sent = [{"sender_id": sender, "text": str(n), "client_id": str(n)} for n in range(3)]
    found = results(client, key, sent)
    assert outcomes(found) == [1, 2, "overloaded"]
    assert found[2]["error"]["details"] == {"retry_after": 1}
    assert outcomes(results(client, key, sent[2:])) == [3]
    assert send(client, key, [*sent, sent[0]]).json["error"]["details"]["limit"] == 3
    assert texts(api, key) == ["0", "1", "2"]
