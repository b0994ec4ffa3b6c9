"""Participants, tokens and agents over REST."""

import time
from datetime import UTC, datetime

import jwt
import pytest

from tests.engines import SECRET_KEY
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

ROOT = "/api/participants"


def test_a_participant_is_registered_read_and_changed(api: Client) -> None:
    one = unique("p")
    form = {"id": one, "kind": "system", "display_name": "Ünï", "metadata": {"a": {"b": None}}}
    answer = api.post(ROOT, form)
    assert answer.status == 201
    assert answer.json == {**form, "created_at": answer.json["created_at"]}
    assert datetime.fromisoformat(answer.json["created_at"]).tzinfo == UTC
    assert api.ok("GET", f"{ROOT}/{one}") == answer.json
    assert api.post(ROOT, {"id": one}).verdict == (409, "conflict")
    assert api.ok("PATCH", f"{ROOT}/{one}", {"metadata": {}}) == {**answer.json, "metadata": {}}
    assert api.ok("PATCH", f"{ROOT}/{one}", {"display_name": ""})["display_name"] == ""
    for method, body in (("GET", None), ("PATCH", {"metadata": {}}), ("DELETE", None)):
        answer = api.call(method, f"{ROOT}/{unique()}", body)
        assert answer.verdict == (404, "participant_not_found")


def test_an_agent_is_not_registered_as_a_participant(api: Client) -> None:
    assert api.post(ROOT, {"id": unique(), "kind": "agent"}).verdict == (400, "invalid_request")


def test_participants_are_listed_by_id_a_page_at_a_time(api: Client) -> None:
    prefix = unique("list")
    ids = [f"{prefix}-{number}" for number in range(5)]
    for one in ids:
        api.ok("POST", ROOT, {"id": one, "kind": "system"})
    found: list[str] = []
    after, more = prefix, True
    while more and after.startswith(prefix):
        page = api.ok("GET", ROOT, after=after, limit=2, kind="system")
        found += [one["id"] for one in page["participants"]]
        after, more = found[-1], page["has_more"]
    assert [one for one in found if one.startswith(prefix)] == ids
    assert all(one["kind"] == "user" for one in api.ok("GET", ROOT, kind="user")["participants"])


def test_a_deleted_participant_leaves_its_conversations_and_its_messages(api: Client) -> None:
    one, other = unique("gone"), unique("stays")
    key = api.group(one, other)
    api.say(key, one)
    with api.token(one).socket() as socket:
        socket.join(f"conversation:{key}")
        assert api.delete(f"{ROOT}/{one}").status == 204
        assert socket.wait_for("phx_close") == {"reason": "removed"}
    assert api.get(f"{ROOT}/{one}").verdict == (404, "participant_not_found")
    members = api.ok("GET", f"/api/conversations/{key}/participants")["participants"]
    assert [member["id"] for member in members] == [other]
    [message] = api.ok("GET", f"/api/conversations/{key}/messages")["messages"]
    assert message["sender_id"] == one
    assert api.ok("GET", f"/api/inbox/{one}") == {"conversations": []}
    answer = api.post(f"/api/conversations/{key}/messages", {"sender_id": one, "text": "x"})
    assert answer.verdict == (403, "not_a_member")


def test_a_participant_reads_itself(api: Client) -> None:
    one = unique("p")
    made = api.ok("POST", ROOT, {"id": one})
    assert api.token(one).ok("GET", f"{ROOT}/{one}") == made


def test_a_token_says_whose_it_is_and_when_it_ends(api: Client) -> None:
    one = unique("p")
    answer = api.post("/api/tokens", {"participant_id": one, "ttl": 60, "conversations": ["b:a", "group"]})
    assert answer.status == 201
    claims = jwt.decode(answer.json["token"], SECRET_KEY, algorithms=["HS256"])
    assert (claims["sub"], claims["conversations"]) == (one, ["a:b", "group"])
    assert claims["exp"] == datetime.fromisoformat(answer.json["expires_at"]).timestamp()
    assert abs(claims["exp"] - time.time() - 60) < 5
    assert answer.json["participant_id"] == one


def test_a_token_has_bounds(api: Client) -> None:
    for form in (
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": 30 * 86_400 + 1},
        {"ttl": 2**70},
        {"ttl": 1.5},
        {"conversations": ["a:b:c"]},
        {"conversations": ["a b"]},
        {"conversations": ["x"] * 101},
        {"conversations": "x"},
    ):
        answer = api.post("/api/tokens", {"participant_id": "p", **form})
        assert answer.verdict == (400, "invalid_request"), form
    assert api.post("/api/tokens", {"participant_id": "p", "ttl": 30 * 86_400}).status == 201
    assert api.post("/api/tokens", {}).verdict == (400, "invalid_request")


def test_an_agent_is_a_participant(api: Client) -> None:
    agent = unique("agent")
    made = api.ok("POST", "/api/agents", {"id": agent, "url": "http://127.0.0.1:9/"})
    assert api.ok("GET", f"{ROOT}/{agent}")["kind"] == "agent"
    secret = made.pop("secret")
    assert api.ok("GET", f"/api/agents/{agent}") == made
    page = api.ok("GET", "/api/agents", after=agent[:-1], limit=1)
    assert page["agents"] == [made]
    assert secret not in str(page)
    assert api.delete(f"/api/agents/{agent}").status == 204
    assert api.get(f"/api/agents/{agent}").verdict == (404, "not_found")
    assert api.ok("GET", f"{ROOT}/{agent}")["kind"] == "agent"
