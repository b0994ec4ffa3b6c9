"""Agents as developers meet them over REST, and what is forgotten of their calls."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.utils import timezone

from agents import registration
from agents.models import AgentEndpoint, Attempt, DeliveryStream
from agents.secrets import Private, open_private, open_secrets
from fleetlm.auth.keys import make_key
from runtime import members
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

URL = "http://127.0.0.1:9/agent"


def register(api: Client, **form: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.ok("POST", "/api/agents", {"id": unique("agent"), "url": URL, **form})
    return made


def test_an_agent_is_registered_read_changed_and_deleted(api: Client) -> None:
    made = register(api, display_name="Ship")
    path = f"/api/agents/{made['id']}"
    assert made.pop("secret").startswith("whsec_")
    assert made == {
        "id": made["id"],
        "url": URL,
        "display_name": "Ship",
        "metadata": {},
        "dialect": "webhook",
        "options": {},
        "header_names": [],
        "context": 50,
        "debounce_ms": None,
        "trigger": "all",
        "while_running": "queue",
        "max_in_flight": None,
        "timeout_seconds": None,
        "enabled": True,
        "health": {
            "state": "never_called",
            "failures": 0,
            "last_success_at": None,
            "last_failure_at": None,
            "last_error": "",
            "opened_at": None,
            "next_probe_at": None,
            "disabled_reason": "",
        },
        "secrets": [{"id": made["secrets"][0]["id"], "expires_at": None}],
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
    }
    assert api.ok("GET", path) == made
    assert made in api.ok("GET", "/api/agents", after=made["id"][:-1], limit=200)["agents"]
    assert api.delete(path).status == 204
    assert api.get(path).verdict == (404, "not_found")
    assert api.delete(path).verdict == (404, "not_found")


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://example.com/other"},
        {"context": "all"},
        {"context": 3},
        {"context": {"tokens": 8_000}},
        {"debounce_ms": 10, "max_in_flight": 2, "timeout_seconds": 1.5},
        {"trigger": "mention", "while_running": "interrupt"},
        {"dialect": "openai", "options": {"model": "small", "temperature": 0.5}},
        {"dialect": "ag-ui", "options": {"state": {"a": [1, None]}}},
        {"metadata": {"team": 1}, "display_name": "Ölaf"},
    ],
)
def test_what_is_given_at_first_or_later_is_kept(api: Client, changes: dict[str, Any]) -> None:
    made = register(api, **changes)
    assert made.items() >= changes.items()
    other = register(api)
    changed = api.ok("PATCH", f"/api/agents/{other['id']}", changes)
    assert changed.items() >= changes.items()
    assert changed == api.ok("GET", f"/api/agents/{other['id']}")
    untouched = other.keys() - {*changes, "updated_at", "secret"}
    assert {name: changed[name] for name in untouched} == {name: other[name] for name in untouched}


def test_what_may_be_null_can_be_taken_back(api: Client) -> None:
    given = {"debounce_ms": 5, "max_in_flight": 2, "timeout_seconds": 3}
    made = register(api, **given)
    nothing = dict.fromkeys(given)
    assert api.ok("PATCH", f"/api/agents/{made['id']}", nothing).items() >= nothing.items()


def test_keys_and_headers_are_kept_and_never_shown(api: Client) -> None:
    made = register(api, api_key="sk-very-secret", headers={"X-Tenant": "very-secret-tenant"})
    path = f"/api/agents/{made['id']}"
    assert made["header_names"] == ["X-Tenant"]
    assert private(made["id"]) == Private({"X-Tenant": "very-secret-tenant"}, "sk-very-secret")
    everything = str([made, api.ok("GET", path), api.ok("GET", "/api/agents", after=made["id"][:-1])])
    assert "very-secret" not in everything
    assert AgentEndpoint.objects.get(agent_id=made["id"]).sealed not in everything
    api.ok("PATCH", path, {"headers": {"x-other": "1"}})
    assert private(made["id"]) == Private({"x-other": "1"}, "sk-very-secret")
    assert api.ok("PATCH", path, {"api_key": None})["header_names"] == ["x-other"]
    assert private(made["id"]) == Private({"x-other": "1"}, None)


def private(agent_id: str) -> Private:
    return open_private(AgentEndpoint.objects.get(agent_id=agent_id).sealed)


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"url": url}, "url")
        for url in ("ftp://example.com", "http://", "http://[half", "http://a/\0", None, 5)
    ),
    ({"url": "http://me:secret@example.com/"}, "url"),
    ({"url": "http://a/" + "a" * 2_000}, "url"),
    *(
        ({"context": context}, "context")
        for context in (0, "some", 10**30, 1.5, True, {"tokens": 0}, {"messages": 1})
    ),
    *(({"debounce_ms": wait}, "debounce_ms") for wait in (-1, 10**9, "1")),
    *(({"timeout_seconds": wait}, "timeout_seconds") for wait in (0, 601, "1", 10**400)),
    *(({"max_in_flight": places}, "max_in_flight") for places in (0, -1, 2**40)),
    ({"dialect": "telepathy"}, "dialect"),
    ({"trigger": "never"}, "trigger"),
    ({"while_running": "wait"}, "while_running"),
    ({"options": {"model": "x"}}, "options"),
    ({"dialect": "openai", "options": {"model": 5}}, "options"),
    ({"dialect": "openai", "options": {"model": "\0"}}, "options"),
    ({"dialect": "openai", "options": {"extra": {"n": 2**70}}}, "options"),
    ({"dialect": "openai", "options": {"extra": {"stream": True}}}, "options"),
    ({"dialect": "ag-ui", "options": []}, "options"),
    ({"metadata": {"a\0": 1}}, "metadata"),
    ({"enabled": None}, "enabled"),
    ({"display_name": "\0"}, "display_name"),
    *(({"api_key": key}, "api_key") for key in ("", "a b", "a\nb", "ä", "x" * 5_000, 7)),
    *(
        ({"headers": headers}, "headers")
        for headers in (
            {"": "x"},
            {"a b": "x"},
            {"a:": "x"},
            {"ä": "x"},
            {"x\0": "x"},
            {"x": "1\r\nwebhook-id: 2"},
            {"x": "1\n"},
            {"x": "\0"},
            {"x": "ä"},
            {"x": ""},
            {"x": " padded "},
            {"x": "y" * 5_000},
            {"x": "1", "X": "2"},
            {"Webhook-Id": "1"},
            {"webhook-signature": "1"},
            {"Content-Length": "5"},
            {"content-type": "text/plain"},
            {"Host": "elsewhere"},
            {"connection": "close"},
            {"Transfer-Encoding": "chunked"},
            {"accept-encoding": "br"},
            {"proxy-authorization": "x"},
            {f"x-{number}": "1" for number in range(40)},
        )
    ),
    *(({"headers": headers}, "headers") for headers in ([], {"x": 1}, {"x": None}, None, "x")),
]


@pytest.mark.parametrize(("changes", "field"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_be_is_refused_at_first_and_later(
    api: Client, changes: dict[str, Any], field: str
) -> None:
    refused = api.post("/api/agents", {"id": unique("agent"), "url": URL, **changes})
    assert refused.verdict == (400, "invalid_request")
    assert refused.json["error"]["details"]["field"].partition("[")[0].partition(".")[0] == field
    made = register(api)
    assert api.patch(f"/api/agents/{made['id']}", changes).verdict == (400, "invalid_request")
    made.pop("secret")
    assert api.ok("GET", f"/api/agents/{made['id']}") == made


@pytest.mark.parametrize("form", [{"id": "no:colon"}, {"secret": "mine"}, {"header_names": []}, {"id": "\0"}])
def test_what_is_no_agent_is_refused(api: Client, form: dict[str, Any]) -> None:
    refused = api.post("/api/agents", {"id": unique("agent"), "url": URL, **form})
    assert refused.verdict == (400, "invalid_request")


@pytest.mark.parametrize("name", ["metadata", "options"])
def test_what_is_too_large_is_refused(api: Client, name: str) -> None:
    form = {"id": unique("agent"), "url": URL, "dialect": "ag-ui", name: {"state": "y" * 100_000}}
    assert api.post("/api/agents", form).verdict == (413, "too_large")


def test_options_must_fit_the_dialect_that_is_left(api: Client) -> None:
    path = f"/api/agents/{register(api, dialect='openai', options={'model': 'small'})['id']}"
    assert api.patch(path, {"dialect": "webhook"}).verdict == (400, "invalid_request")
    assert api.ok("PATCH", path, {"dialect": "webhook", "options": {}})["dialect"] == "webhook"
    assert api.patch(path, {"options": {"model": "small"}}).verdict == (400, "invalid_request")


def test_an_agent_is_registered_once(api: Client) -> None:
    made = register(api)
    assert api.post("/api/agents", {"id": made["id"], "url": URL}).verdict == (409, "conflict")


@pytest.mark.parametrize("agent_id", ["nobody", "%00", "a%2Fb", "x" * 300, "%ff"])
def test_who_is_no_agent_is_not_found(api: Client, agent_id: str) -> None:
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("POST", "/close-breaker", None),
        ("POST", "/resume", None),
        ("GET", "/streams", None),
        ("GET", "/attempts", None),
    ):
        answer = api.call(method, f"/api/agents/{agent_id}{suffix}", body)
        assert answer.status in (400, 404), (method, suffix)
        assert answer.code in ("not_found", "invalid_request")


def test_only_admin_keys_change_agents(api: Client) -> None:
    reader = Client(api.server, make_key("test", ["read"])[1])
    path = f"/api/agents/{register(api)['id']}"
    assert reader.get(path).status == 200
    for answer in (reader.patch(path, {}), reader.delete(path), reader.post(f"{path}/rotate-secret")):
        assert answer.verdict == (403, "not_allowed")


# Secrets.


def test_a_rotated_secret_signs_beside_the_new_one_for_a_while(api: Client) -> None:
    made = register(api)
    path = f"/api/agents/{made['id']}"
    rotated = api.ok("POST", f"{path}/rotate-secret", {"overlap_seconds": 60})
    ends = datetime.fromisoformat(rotated["expires_at"])
    assert ends - datetime.now(UTC) == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=10))
    endpoint = AgentEndpoint.objects.get(agent_id=made["id"])
    assert open_secrets(endpoint.secrets, datetime.now(UTC)) == [rotated["secret"], made["secret"]]
    assert open_secrets(endpoint.secrets, ends + timedelta(seconds=1)) == [rotated["secret"]]
    shown = api.ok("GET", path)["secrets"]
    assert [one["expires_at"] for one in shown] == [None, rotated["expires_at"]]
    assert shown[1]["id"] == made["secrets"][0]["id"]
    assert "whsec" not in str(shown)


def test_a_leaked_secret_ends_at_once(api: Client) -> None:
    made = register(api)
    rotated = api.ok("POST", f"/api/agents/{made['id']}/rotate-secret", {"overlap_seconds": 0})
    assert rotated["expires_at"] is None
    endpoint = AgentEndpoint.objects.get(agent_id=made["id"])
    assert open_secrets(endpoint.secrets, datetime.now(UTC)) == [rotated["secret"]]


def test_by_default_the_old_secret_lasts_for_a_day(api: Client) -> None:
    rotated = api.ok("POST", f"/api/agents/{register(api)['id']}/rotate-secret")
    left = datetime.fromisoformat(rotated["expires_at"]) - datetime.now(UTC)
    assert left == pytest.approx(timedelta(days=1), abs=timedelta(seconds=10))


@pytest.mark.parametrize("overlap", [-1, 10**9, "1", 10**400, True])
def test_an_overlap_that_cannot_be_is_refused(api: Client, overlap: Any) -> None:
    path = f"/api/agents/{register(api)['id']}/rotate-secret"
    assert api.post(path, {"overlap_seconds": overlap}).verdict == (400, "invalid_request")


# Health.


def test_health_follows_what_became_of_calls(api: Client) -> None:
    made = register(api)
    path, rows = f"/api/agents/{made['id']}", AgentEndpoint.objects.filter(agent_id=made["id"])
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    rows.update(failures=3, last_failure_at=moment, last_error="status 500")
    failing = api.ok("GET", path)["health"]
    assert (failing["state"], failing["failures"], failing["last_error"]) == ("failing", 3, "status 500")
    assert failing["last_failure_at"] == "2026-01-02T00:00:00.000000Z"
    rows.update(opened_at=moment, probe_at=moment, probe_pause=5)
    opened = api.ok("GET", path)["health"]
    assert (opened["state"], opened["opened_at"], opened["next_probe_at"]) == (
        "open",
        *["2026-01-02T00:00:00.000000Z"] * 2,
    )
    closed = api.ok("POST", f"{path}/close-breaker")
    # Until a call succeeds, nobody knows that it does.
    assert (closed["state"], closed["failures"], closed["next_probe_at"]) == ("failing", 0, None)


def test_disabling_and_another_url_say_so_in_the_health(api: Client) -> None:
    made = register(api)
    path, rows = f"/api/agents/{made['id']}", AgentEndpoint.objects.filter(agent_id=made["id"])
    rows.update(enabled=False, disabled_reason="It answered 410 Gone.")
    health = api.ok("GET", path)["health"]
    assert (health["state"], health["disabled_reason"]) == ("disabled", "It answered 410 Gone.")
    assert api.ok("PATCH", path, {"enabled": True})["health"]["disabled_reason"] == ""
    rows.update(failures=12, opened_at=timezone.now(), probe_at=timezone.now())
    assert api.ok("PATCH", path, {"display_name": "x"})["health"]["state"] == "open"
    assert api.ok("PATCH", path, {"url": "http://127.0.0.1:9/other"})["health"]["state"] == "never_called"


# What is forgotten.


def test_prune_forgets_old_attempts_only() -> None:
    agent_id, user_id = unique("a"), unique("u")
    registration.register_agent(agent_id, URL)
    members.ensure_dm(f"{agent_id}:{user_id}")
    stream = DeliveryStream.objects.get(agent_id=agent_id)
    old, young = (
        Attempt.objects.create(
            stream=stream,
            call_id=uuid4(),
            run_id=uuid4(),
            number=number,
            from_seq=1,
            to_seq=1,
            outcome="accepted",
            duration_ms=1,
        )
        for number in (1, 2)
    )
    Attempt.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=10))
    call_command("prune", "--days", "9", stdout=StringIO())
    assert list(stream.attempts_log.values_list("id", flat=True)) == [young.id]
