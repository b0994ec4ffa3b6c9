"""The log over REST: append, dedupe, pages, long polls, redactions, event streams."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from time import monotonic
from typing import Any

import pytest

from tests.integration.server import HOST, PATIENCE, Client, unique

pytestmark = pytest.mark.usefixtures("healthy")


def messages(key: str) -> str:
    return f"/api/conversations/{key}/messages"


def page(client: Client, key: str, **query: object) -> dict[str, Any]:
    found: dict[str, Any] = client.ok("GET", messages(key), **query)
    return found


def seqs(client: Client, key: str, **query: object) -> tuple[list[int], bool]:
    found = page(client, key, **query)
    return [one["seq"] for one in found["messages"]], found["has_more"]


@pytest.fixture
def dm() -> str:
    """The key of a dm that nobody has used."""
    return ":".join(sorted((unique("a"), unique("b"))))


def test_a_message_comes_back_as_it_was_sent(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    sent = {
        "sender_id": one,
        "text": f"hi @{other}, @nobody: schön 🎈",
        "kind": "tool.result",
        "content": {"n": [1, 2.5, None, True, {"ü": "\u2028"}]},
        "metadata": {"big": 2**63 - 1, "small": -(2**63) + 1, "float": 1e22},
        "client_id": "c:1",
    }
    answer = api.post(messages(dm), sent)
    stored = answer.json
    assert answer.status == 201
    assert stored.pop("deduplicated") is False
    assert {name: stored[name] for name in sent} == sent
    assert set(stored) == {*sent, "id", "seq", "conversation", "dm_key", "reply_to", "mentions", "created_at"}
    assert (stored["seq"], stored["conversation"], stored["dm_key"]) == (1, dm, dm)
    assert (stored["reply_to"], stored["mentions"]) == (None, [other])
    assert stored["id"][14] == "7"
    assert page(api, dm) == {
        "messages": [stored],
        "epoch": api.ok("GET", f"/api/conversations/{dm}")["epoch"],
        "last_seq": 1,
        "has_more": False,
    }


def test_a_dm_is_one_conversation_in_either_order(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    backwards = f"{other}:{one}"
    assert api.say(backwards, one)["conversation"] == dm
    assert api.say(dm, other)["seq"] == 2
    assert page(api, backwards) == page(api, dm)
    assert api.ok("GET", f"/api/conversations/{backwards}")["key"] == dm
    assert api.get(f"/api/participants/{one}").json["kind"] == "user"


def test_only_its_two_participants_write_to_a_dm(api: Client, dm: str) -> None:
    answer = api.post(messages(dm), {"sender_id": unique(), "text": "x"})
    assert answer.verdict == (403, "not_a_member")
    assert api.post(messages("one:one"), {"sender_id": "one", "text": "x"}).verdict == (
        400,
        "invalid_request",
    )


def test_a_group_is_not_made_by_writing_to_it(api: Client) -> None:
    answer = api.post(messages(unique()), {"sender_id": "x", "text": "x"})
    assert answer.verdict == (404, "conversation_not_found")


def test_a_retry_is_stored_once(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    body = {"sender_id": one, "text": "x", "client_id": "c1"}
    first, second = api.post(messages(dm), body), api.post(messages(dm), body)
    by_header = api.call(
        "POST", messages(dm), {"sender_id": one, "text": "x"}, headers={"Idempotency-Key": "c1"}
    )
    quoted = api.call(
        "POST", messages(dm), {"sender_id": one, "text": "x"}, headers={"Idempotency-Key": '"c1"'}
    )
    assert (first.status, first.json["deduplicated"]) == (201, False)
    for retry in (second, by_header, quoted):
        assert (retry.status, retry.json) == (200, {**first.json, "deduplicated": True})
    others = api.post(messages(dm), {"sender_id": other, "text": "x", "client_id": "c1"})
    assert (others.status, others.json["seq"]) == (201, 2)


def test_the_body_goes_before_the_header(api: Client, dm: str) -> None:
    body = {"sender_id": dm.split(":")[0], "text": "x", "client_id": "in-body"}
    answer = api.call("POST", messages(dm), body, headers={"Idempotency-Key": "in-header"})
    assert answer.json["client_id"] == "in-body"


@pytest.mark.parametrize(
    "change",
    [{"text": "y"}, {"kind": "note"}, {"content": {"a": 1}}, {"metadata": {"a": 1}}, {"reply_to": 1}],
)
def test_a_client_id_does_not_stand_for_two_messages(api: Client, dm: str, change: dict[str, Any]) -> None:
    body = {"sender_id": dm.split(":")[0], "text": "x", "client_id": "c1"}
    api.post(messages(dm), body)
    answer = api.post(messages(dm), body | change)
    assert answer.verdict == (409, "client_id_reused")
    assert answer.json["error"]["details"] == {"client_id": "c1", "seq": 1}
    assert page(api, dm)["last_seq"] == 1


def test_simultaneous_retries_are_stored_once_and_seqs_have_no_hole(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    bodies = [{"sender_id": sender, "text": str(n), "client_id": f"c{n}"} for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: api.post(messages(dm), body), bodies * 3))
    assert sorted(answer.status for answer in answers) == [200] * 24 + [201] * 12
    assert {(a.json["client_id"], a.json["seq"]) for a in answers} == {
        (one["client_id"], one["seq"]) for one in page(api, dm)["messages"]
    }
    assert seqs(api, dm) == (list(range(1, 13)), False)


def test_expected_seq_must_be_the_last(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    api.say(dm, sender, expected_seq=0, client_id="first")
    late = api.post(messages(dm), {"sender_id": sender, "text": "x", "expected_seq": 0})
    assert late.verdict == (409, "seq_conflict")
    assert late.json["error"]["details"] == {"expected_seq": 0, "last_seq": 1}
    assert api.say(dm, sender, expected_seq=1)["seq"] == 2
    retry = api.post(
        messages(dm), {"sender_id": sender, "text": "hello", "expected_seq": 0, "client_id": "first"}
    )
    assert (retry.status, retry.json["seq"]) == (200, 1)


def test_a_reply_names_an_earlier_message(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    api.say(dm, sender)
    assert api.say(dm, sender, reply_to=1)["reply_to"] == 1
    for wrong in (3, 2**63 - 1):
        answer = api.post(messages(dm), {"sender_id": sender, "text": "x", "reply_to": wrong})
        assert answer.verdict == (400, "invalid_request")


def test_a_message_says_something(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    empty = api.post(messages(dm), {"sender_id": sender, "text": "", "metadata": {"a": 1}})
    assert empty.verdict == (400, "invalid_request")
    assert api.say(dm, sender, text="", content={"a": 1})["text"] == ""
    assert api.post(messages(dm), {"text": "x"}).verdict == (
        400,
        "invalid_request",
    )  # an API key says who speaks


def test_pages_of_the_log(api: Client, dm: str) -> None:
    for number in range(7):
        api.say(dm, dm.split(":")[number % 2], str(number))
    assert seqs(api, dm, after=0, limit=3) == ([1, 2, 3], True)
    assert seqs(api, dm, after=3, limit=4) == ([4, 5, 6, 7], False)
    assert seqs(api, dm, after=7) == ([], False)
    assert seqs(api, dm, after=100) == ([], False)
    assert seqs(api, dm, before=4, limit=2) == ([2, 3], True)
    assert seqs(api, dm, before=3) == ([1, 2], False)
    assert seqs(api, dm, before=1) == ([], False)
    assert seqs(api, dm, limit=2) == ([6, 7], True)
    assert seqs(api, dm) == ([1, 2, 3, 4, 5, 6, 7], False)
    assert api.get(messages(dm), after=1, before=3).verdict == (400, "invalid_request")


def test_a_long_poll_ends_with_the_next_message(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    api.say(dm, sender)
    with closing(HTTPConnection(HOST, api.server.port, timeout=PATIENCE)) as line:
        line.request(
            "GET", f"{messages(dm)}?after=1&wait=25", headers={"Authorization": f"Bearer {api.credential}"}
        )
        assert api.server.is_healthy()
        api.say(dm, sender, "news")
        body = Client(api.server).get("/health/live")
        response = line.getresponse()
        found = response.read()
    assert body.status == 200
    assert response.status == 200
    assert b'"news"' in found
    assert b'"last_seq":2' in found


def test_a_long_poll_gives_up_in_time(api: Client, dm: str) -> None:
    api.say(dm, dm.split(":")[0])
    began = monotonic()
    assert seqs(api, dm, after=1, wait=0.3) == ([], False)
    assert 0.3 <= monotonic() - began < 3
    began = monotonic()
    assert seqs(api, dm, after=0, wait=20) == ([1], False)
    assert monotonic() - began < 3


def test_a_long_poll_ends_for_whoever_is_removed(api: Client) -> None:
    member = unique()
    key = api.group(member, unique())
    token = api.token(member)
    with closing(HTTPConnection(HOST, api.server.port, timeout=PATIENCE)) as line:
        line.request(
            "GET", f"{messages(key)}?after=0&wait=25", headers={"Authorization": f"Bearer {token.credential}"}
        )
        assert api.server.is_healthy()
        api.ok("DELETE", f"/api/conversations/{key}/participants/{member}")
        response = line.getresponse()
        assert (response.status, b'"not_a_member"' in response.read()) == (403, True)


def test_a_redaction_blanks_its_target(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    secret = api.say(dm, one, f"secret @{other}", content={"s": 1}, metadata={"m": 1}, client_id="s")
    token = api.token(one)
    redaction = token.post(messages(dm), {"kind": "redaction", "reply_to": 1})
    assert (redaction.status, redaction.json["seq"]) == (201, 2)
    blank, entry = page(api, dm)["messages"]
    assert blank == {
        **{name: value for name, value in secret.items() if name != "deduplicated"},
        "text": "",
        "content": {},
        "metadata": {"redacted": True},
        "mentions": [],
    }
    assert (entry["kind"], entry["reply_to"], entry["text"]) == ("redaction", 1, "")
    assert api.entry(other, dm)["last_message"]["text"] == ""
    retry = api.post(messages(dm), {"sender_id": one, "text": f"secret @{other}", "client_id": "s"})
    assert (retry.status, retry.json["text"]) == (200, "")


def test_who_may_redact(api: Client) -> None:
    author, member, admin = unique("author"), unique("member"), unique("admin")
    key = api.group(author, member, {"id": admin, "role": "admin"})  # type: ignore[arg-type]
    redaction = {"kind": "redaction", "reply_to": 1}
    api.say(key, author)
    assert api.token(member).post(messages(key), redaction).verdict == (403, "not_allowed")
    assert api.token(author).post(messages(key), redaction).status == 201
    assert api.token(admin).post(messages(key), redaction).status == 201
    assert api.post(messages(key), redaction | {"sender_id": member}).status == 201
    for wrong in ({}, {"reply_to": 99}):
        answer = api.post(messages(key), {"sender_id": author, "kind": "redaction", **wrong})
        assert answer.verdict == (400, "invalid_request")


def test_a_client_that_comes_back_learns_of_a_redaction(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    api.say(dm, one, "secret")
    epoch = page(api, dm)["epoch"]
    topic, token = f"conversation:{dm}", api.token(other)
    with token.socket() as socket:
        assert [m["text"] for m in socket.join(topic)["messages"]] == ["secret"]
        api.say(dm, one, "", kind="redaction", reply_to=1)
        assert socket.wait_for("message")["reply_to"] == 1
    with token.socket() as socket:
        joined = socket.join(topic, after=1, epoch=epoch)
        assert [(m["kind"], m["reply_to"]) for m in joined["messages"]] == [("redaction", 1)]
        assert [m["text"] for m in socket.ok(topic, "history", {"before": 3})["messages"]] == ["", ""]
    with token.socket() as socket:
        assert [m["text"] for m in socket.join(topic, after=0)["messages"]] == ["", ""]
    with token.events(f"/api/conversations/{dm}/events", **{"Last-Event-ID": f"{epoch}:1"}) as events:
        assert events.next()[0] == "ready"
        assert events.next()[1]["kind"] == "redaction"


def test_a_closed_conversation_takes_nothing_new(api: Client, dm: str) -> None:
    sender = dm.split(":")[0]
    api.say(dm, sender, client_id="c1")
    for state in ("close", "archive"):
        api.ok("POST", f"/api/conversations/{dm}/{state}")
        answer = api.post(messages(dm), {"sender_id": sender, "text": "x"})
        assert answer.verdict == (409, "conversation_closed")
        retry = api.post(messages(dm), {"sender_id": sender, "text": "hello", "client_id": "c1"})
        assert (retry.status, retry.json["seq"]) == (200, 1)
    assert seqs(api, dm) == ([1], False)
    api.ok("POST", f"/api/conversations/{dm}/reopen")
    assert api.say(dm, sender)["seq"] == 2


def test_a_broadcast_is_read_by_all_and_written_by_servers_and_admins(api: Client) -> None:
    admin, anyone = unique("admin"), unique("anyone")
    key = api.group({"id": admin, "role": "admin"}, kind="broadcast")  # type: ignore[arg-type]
    assert api.say(key, unique("news"), "from a server")["seq"] == 1
    assert api.token(admin).post(messages(key), {"text": "from an admin"}).status == 201
    reader = api.token(anyone)
    assert reader.post(messages(key), {"text": "x"}).verdict == (403, "not_allowed")
    assert [m["text"] for m in page(reader, key)["messages"]] == ["from a server", "from an admin"]
    with reader.socket() as socket:
        assert socket.join(f"conversation:{key}")["last_seq"] == 2
        api.say(key, "news", "live")
        assert socket.wait_for("message")["text"] == "live"
        assert socket.refusal(f"conversation:{key}", "send", {"text": "x"}) == "not_allowed"
        assert socket.refusal(f"conversation:{key}", "read", {"seq": 1}) == "not_a_member"


def test_an_event_stream_goes_on_where_it_was(api: Client, dm: str) -> None:
    one, other = dm.split(":")
    api.say(dm, one, "1")
    token, path = api.token(other), f"/api/conversations/{dm}/events"
    with token.events(path) as events:
        name, ready, place = events.next()
        assert (name, ready["last_seq"], ready["recovered"], place) == ("ready", 1, False, None)
        sent = api.say(dm, one, "2")
        name, message, place = events.next()
        del sent["deduplicated"]
        assert (name, message, place) == ("message", sent, f"{ready['epoch']}:2")
    api.say(dm, one, "3")
    with token.events(path, **{"Last-Event-ID": str(place)}) as events:
        assert events.next()[1]["recovered"] is True
        assert events.next()[1]["text"] == "3"
    with token.events(f"{path}?after=0") as events:
        assert events.next()[1]["recovered"] is True
        assert [events.next()[1]["seq"] for _ in range(3)] == [1, 2, 3]
    with token.events(path, **{"Last-Event-ID": "another-epoch:1"}) as events:
        assert events.next()[1]["recovered"] is False
    with Client(api.server).events(f"{path}?token={token.credential}") as events:
        assert events.next()[0] == "ready"


def test_an_event_stream_begins_with_what_a_join_replies(api: Client) -> None:
    one, other = sorted((unique("a"), unique("b")))
    key = f"{one}:{other}"
    api.say(key, one)
    path = f"/api/conversations/{key}"
    api.ok("POST", f"{path}/read", {"participant_id": other, "seq": 1})
    with api.token(one).socket() as socket:
        joined = socket.join(f"conversation:{key}", after=1)
        del joined["messages"]
        present = socket.wait_for("presence_diff")["joins"]
        with api.token(other).events(f"{path}/events?after=1") as events:
            name, ready, _ = events.next()
            assert (name, ready) == ("ready", joined | {"presence": present})
            assert [(m["id"], m["last_read_seq"]) for m in ready["members"]] == [(one, 1), (other, 1)]
            api.say(key, other)
            assert events.next()[1]["seq"] == 2
            api.ok("POST", f"{path}/read", {"participant_id": one, "seq": 2})
            assert events.next()[:2] == ("read", {"participant_id": one, "seq": 2})
        with api.token(other).events(f"{path}/events?after=0") as events:
            assert [events.next()[0] for _ in range(3)] == ["ready", "message", "message"]
            assert events.next()[:2] == ("presence_state", present)
    with api.token(other).events(f"{path}/events") as events:
        assert events.next()[1]["presence"].keys() <= {one}  # its leave may be told late


def test_an_event_stream_ends_with_the_membership(api: Client) -> None:
    member = unique()
    key = api.group(member)
    with api.token(member).events(f"/api/conversations/{key}/events") as events:
        events.next()
        api.ok("DELETE", f"/api/conversations/{key}/participants/{member}")
        assert events.next()[1]["error"]["code"] == "not_a_member"
        with pytest.raises(EOFError):
            events.next()
