"""Subscriptions over REST: what they are told of, what they keep to themselves, and what cannot be changed."""

from typing import Any

import pytest

from agents.models import DeliveryStream, Subscription
from agents.secrets import Private, open_private
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

URL = "http://127.0.0.1:9/hook"


def subscribe(api: Client, **form: Any) -> dict[str, Any]:
    """A new one; without a prefix it would follow every conversation of every test."""
    form = {"event": "message.created", "url": URL, "key_prefix": unique(), **form}
    made: dict[str, Any] = api.ok("POST", "/api/subscriptions", form)
    return made


def streams(made: dict[str, Any]) -> list[DeliveryStream]:
    found = DeliveryStream.objects.filter(endpoint__public_id=made["id"])
    return list(found.select_related("conversation").order_by("id"))


def test_one_is_made_read_changed_and_deleted(api: Client) -> None:
    made = subscribe(api, description="audit", message_kinds=["text"], conversation_kinds=["group", "dm"])
    path = f"/api/subscriptions/{made['id']}"
    assert made.pop("secret").startswith("whsec_")
    assert (
        made.items()
        >= {
            "event": "message.created",
            "url": URL,
            "description": "audit",
            "participant_id": None,
            "conversation_kinds": ["dm", "group"],
            "message_kinds": ["text"],
            "header_names": [],
            "timeout_seconds": None,
            "debounce_ms": None,
            "max_in_flight": None,
            "enabled": True,
        }.items()
    )
    assert (made["health"]["state"], len(made["secrets"])) == ("never_called", 1)
    assert api.ok("GET", path) == made
    changes = {"url": f"{URL}/2", "description": "", "enabled": False, "timeout_seconds": 5, "debounce_ms": 1}
    changed = api.ok("PATCH", path, changes)
    assert changed.items() >= changes.items()
    assert changed["health"]["state"] == "disabled"
    assert api.delete(path).status == 204
    assert api.get(path).verdict == api.delete(path).verdict == (404, "not_found")


def test_they_are_listed_a_page_at_a_time(api: Client) -> None:
    made = [subscribe(api, event="broadcast.created", key_prefix="")["id"] for _ in range(3)]
    seen, after = [], {}
    while True:
        query = {"event": "broadcast.created", "limit": 2, **after}
        page = api.ok("GET", "/api/subscriptions", **query)
        seen += [one["id"] for one in page["subscriptions"]]
        if not page["has_more"]:
            break
        assert len(page["subscriptions"]) == 2
        after = {"after": seen[-1]}
    assert [one for one in seen if one in made] == made
    assert len(seen) == len(set(seen))
    for one in made:
        api.ok("DELETE", f"/api/subscriptions/{one}")


def test_it_is_told_of_what_passes_its_filters_from_then_on(api: Client) -> None:
    prefix, member, other = unique("team"), unique("m"), unique("o")
    made = subscribe(api, key_prefix=prefix, participant_id=member, conversation_kinds=["group"])
    inside = api.group(member, other, key=f"{prefix}-1")
    for key in (api.group(member, key=unique()), api.group(other, key=f"{prefix}-2")):
        api.say(key, member if key[:4] != "team" else other)
    assert streams(made) == []
    api.say(inside, other)
    [stream] = streams(made)
    assert (stream.conversation.key, stream.cursor, stream.wanted_seq) == (inside, 0, 1)
    assert stream.due_at is not None
    api.ok("DELETE", f"/api/conversations/{inside}/participants/{member}")
    assert streams(made) == []


def test_inbox_updates_follow_reads_and_changes_of_one_participant(api: Client) -> None:
    member, other = unique("m"), unique("o")
    made = subscribe(api, event="inbox.updated", participant_id=member, key_prefix="")
    key = api.group(member, other)
    message = api.say(key, other)
    [stream] = streams(made)
    before = stream.wanted_seq
    api.ok("POST", f"/api/conversations/{key}/read", {"participant_id": member, "seq": message["seq"]})
    api.ok("POST", f"/api/conversations/{key}/read", {"participant_id": other, "seq": message["seq"]})
    assert streams(made)[0].wanted_seq == before + 1
    api.ok("PATCH", f"/api/conversations/{key}/participants/{member}", {"muted": True})
    assert streams(made)[0].wanted_seq == before + 2
    api.ok("PATCH", f"/api/conversations/{key}", {"title": "New"})
    assert streams(made)[0].wanted_seq == before + 3


def test_keys_and_headers_are_kept_and_never_shown(api: Client) -> None:
    made = subscribe(api, api_key="sk-very-secret", headers={"X-Tenant": "very-secret-tenant"})
    path = f"/api/subscriptions/{made['id']}"
    assert made["header_names"] == ["X-Tenant"]
    everything = str([made, api.ok("GET", path), api.ok("PATCH", path, {"description": "x"})])
    assert "very-secret" not in everything
    sealed = Subscription.objects.get(public_id=made["id"]).sealed
    assert open_private(sealed) == Private({"X-Tenant": "very-secret-tenant"}, "sk-very-secret")
    assert api.ok("PATCH", path, {"headers": {}, "api_key": None})["header_names"] == []
    assert Subscription.objects.get(public_id=made["id"]).sealed == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event", "inbox.updated"),
        ("key_prefix", "x"),
        ("participant_id", "alice"),
        ("conversation_kinds", []),
        ("message_kinds", ["text"]),
    ],
)
def test_filters_never_change_and_the_error_says_so(api: Client, field: str, value: Any) -> None:
    path = f"/api/subscriptions/{subscribe(api)['id']}"
    refused = api.patch(path, {field: value, "description": "x"})
    assert refused.verdict == (400, "invalid_request")
    assert refused.json["error"]["details"] == {"field": field}
    assert "cannot be changed" in refused.json["error"]["message"]
    assert api.ok("GET", path)["description"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "message.deleted"},
        {"event": None},
        {"url": "http://me:secret@example.com/"},
        {"url": "file:///etc/passwd"},
        {"description": "x" * 300},
        {"description": "\0"},
        {"key_prefix": "a\0"},
        {"key_prefix": "x" * 300},
        {"key_prefix": 5},
        {"participant_id": "a:b"},
        {"participant_id": ""},
        {"conversation_kinds": ["secret"]},
        {"conversation_kinds": "group"},
        {"conversation_kinds": ["broadcast"]},
        {"event": "broadcast.created", "conversation_kinds": ["group"]},
        {"event": "inbox.updated", "message_kinds": ["text"]},
        {"message_kinds": ["Not A Kind"]},
        {"message_kinds": ["\0"]},
        {"headers": {"webhook-id": "1"}},
        {"headers": {"x": "a\nb"}},
        {"api_key": "a b"},
        {"timeout_seconds": 10**400},
        {"debounce_ms": -1},
        {"max_in_flight": 2**70},
        {"enabled": "yes"},
        {"secret": "mine"},
        {"dialect": "webhook"},
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_no_subscription_is_refused(api: Client, changes: dict[str, Any]) -> None:
    form = {"event": "message.created", "url": URL, "key_prefix": unique(), **changes}
    assert api.post("/api/subscriptions", form).verdict == (400, "invalid_request")


@pytest.mark.parametrize(
    "subscription_id", ["mine", "%00", "0", "0199c1f0-7d1c-7b52-9d2e-3f2a8c6b1e10", "x" * 500]
)
def test_what_is_not_there_is_not_found(api: Client, subscription_id: str) -> None:
    path = f"/api/subscriptions/{subscription_id}"
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {"enabled": True}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", {}),
        ("POST", "/test", None),
        ("POST", "/close-breaker", None),
        ("POST", "/resume", None),
        ("GET", "/streams", None),
        ("GET", "/streams/lounge", None),
        ("POST", "/streams/lounge/pause", None),
        ("GET", "/attempts", None),
    ):
        assert api.call(method, path + suffix, body).verdict == (404, "not_found"), (method, suffix)


def test_a_page_after_what_is_not_there_is_not_found(api: Client) -> None:
    assert api.get("/api/subscriptions", after="\0").verdict == (404, "not_found")


def test_an_agent_is_no_subscription(api: Client) -> None:
    agent = api.ok("POST", "/api/agents", {"id": unique("agent"), "url": URL})
    assert api.get(f"/api/subscriptions/{agent['id']}").verdict == (404, "not_found")
    listed = api.ok("GET", "/api/agents", limit=200)["agents"]
    assert all(one["id"] is not None for one in listed)


def test_the_secret_is_rotated(api: Client) -> None:
    made = subscribe(api)
    path = f"/api/subscriptions/{made['id']}"
    rotated = api.ok("POST", f"{path}/rotate-secret", {"overlap_seconds": 30})
    assert rotated["secret"] not in (None, made["secret"])
    assert [one["expires_at"] for one in api.ok("GET", path)["secrets"]] == [None, rotated["expires_at"]]


def test_a_stream_of_a_subscription_is_seen_to_like_an_agents(api: Client) -> None:
    made, member = subscribe(api, key_prefix=(prefix := unique("t"))), unique("m")
    key = api.group(member, key=f"{prefix}-1")
    api.say(key, member)
    path = f"/api/subscriptions/{made['id']}/streams"
    [listed] = api.ok("GET", path, state="due")["streams"]
    assert (listed["key"], listed["lag"], listed["trigger"]) == (key, 1, None)
    assert api.ok("POST", f"{path}/{key}/pause")["state"] == "paused"
    assert api.ok("POST", f"{path}/{key}/resume")["state"] == "due"
    assert api.ok("POST", f"{path}/{key}/skip", {"seq": 1})["state"] == "idle"
    assert api.ok("POST", f"{path}/{key}/redeliver", {"from_seq": 1, "to_seq": 1})["replay"] == {
        "from": 1,
        "to": 1,
    }
    assert api.patch(f"{path}/{key}", {"trigger": "all"}).verdict == (405, "method_not_allowed")
