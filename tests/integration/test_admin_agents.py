"""Agents and subscriptions in the admin: what is shown, what the buttons do, who may press them, what is never shown."""

import logging
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from agents import backlog, operations, registration, secrets, subscriptions
from agents.health import CONDITIONS, Health, health_of
from agents.models import Attempt, DeliveryStream, Endpoint
from conversations.models import Conversation, Message, Participant
from fleetlm.agents_admin import endpoint_buttons
from fleetlm.agents_admin.stream_states import BY_NAME, state_of
from fleetlm.api.streams import as_answer

# In development static files come from the apps, and nobody has collected them.
pytestmark = pytest.mark.filterwarnings("ignore:No directory at")

URL = "http://127.0.0.1:9/"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{44}")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def staff(client: Client) -> Client:
    """A superuser at the admin."""
    client.force_login(get_user_model().objects.create_superuser(f"root-{uuid4().hex}"))
    return client


@pytest.fixture
def onlooker() -> Client:
    """Someone of the staff who may see everything of agents and change nothing."""
    user = get_user_model().objects.create_user(f"onlooker-{uuid4().hex}", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="agents", codename__startswith="view_")
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def agent() -> Endpoint:
    """An agent's endpoint."""
    return registration.register_agent(f"bot-{uuid4().hex}", URL).endpoint


@pytest.fixture
def subscription() -> Endpoint:
    """A subscription."""
    return subscriptions.subscribe("message.created", URL, description=f"sync-{uuid4().hex}").subscription


def stream_of(endpoint: Endpoint, *, last_seq: int = 10, **fields: Any) -> DeliveryStream:
    """A stream that has got 4 of 10 messages."""
    made = Conversation.objects.create(key=f"room-{uuid4().hex}", kind="group", last_seq=last_seq)
    given = {"cursor": 4, "wanted_seq": last_seq, "enabled": endpoint.enabled, **fields}
    stream = DeliveryStream.objects.create(
        endpoint_id=endpoint.pk, agent_id=endpoint.agent_id, conversation=made, **given
    )
    # The agent itself has said the last of every three.
    senders = {seq: "alice" if seq % 3 else endpoint.agent_id or "bob" for seq in range(1, 11)}
    Message.objects.bulk_create(
        Message(
            conversation=made, seq=seq, countable=seq, sender_id=sender, text="x", created_at=timezone.now()
        )
        for seq, sender in senders.items()
    )
    return stream


def attempt_of(stream: DeliveryStream, **fields: Any) -> Attempt:
    given = {"number": 1, "from_seq": 5, "to_seq": 6, "outcome": "refused", "status": 502, "duration_ms": 12}
    return Attempt.objects.create(stream=stream, call_id=uuid4(), run_id=uuid4(), **{**given, **fields})


def kind_of(endpoint: Endpoint) -> str:
    return "agentendpoint" if endpoint.agent_id else "subscription"


def page(client: Client, name: str, *args: object, **query: object) -> str:
    """The text of an admin page that answers 200."""
    response = client.get(reverse(f"admin:agents_{name}", args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def endpoint_page(client: Client, endpoint: Endpoint) -> str:
    return page(client, f"{kind_of(endpoint)}_change", endpoint.pk)


def press_address(row: Endpoint | DeliveryStream, name: str) -> str:
    kind = "deliverystream" if isinstance(row, DeliveryStream) else kind_of(row)
    return reverse(f"admin:agents_{kind}_press", args=(row.pk, name))


def press(client: Client, row: Endpoint | DeliveryStream, name: str, **given: object) -> str:
    """Press a button; the page that it leads to."""
    response = client.post(press_address(row, name), given, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def logged(row: Endpoint | DeliveryStream) -> list[str]:
    """What the admin's log says of a row, newest first."""
    kind = "deliverystream" if isinstance(row, DeliveryStream) else kind_of(row)
    entries = LogEntry.objects.filter(object_id=str(row.pk), content_type__model=kind)
    return [entry.get_change_message() for entry in entries.order_by("-pk")]


# Lists.


def test_a_list_shows_health_and_what_waits(staff: Client, agent: Endpoint, subscription: Endpoint) -> None:
    now = timezone.now()
    for endpoint in (agent, subscription):
        Endpoint.objects.filter(pk=endpoint.pk).update(
            failures=3, last_failure_at=now, last_error=f"Status 502 {SCRIPT}"
        )
        stream_of(endpoint, due_at=now, waiting_since=now - timedelta(hours=3))
        stream_of(endpoint, due_at=now + timedelta(hours=1), first_failed_at=now, last_seq=5)
        stream_of(endpoint, due_at=now + timedelta(hours=1), blocked=True, last_seq=5)
        stream_of(endpoint, due_at=now + timedelta(hours=1), lease_id=uuid4(), last_seq=5)
        stream_of(endpoint, parked_at=now, park_reason="exhausted", last_seq=104)
        stream_of(endpoint, cursor=10)
        listed = page(staff, f"{kind_of(endpoint)}_changelist", q=endpoint.agent_id or endpoint.description)
        cells = dict(re.findall(r'<td class="field-(\w+)">(.*?)</td>', listed, re.DOTALL))
        assert "failing" in cells["health"]
        assert "&lt;script&gt;alert(1)" in cells["health"]
        assert (cells["streams"], cells["waiting"], cells["lag"]) == ("6", "3", "109")
        assert ">1</a>" in cells["parked"]
        assert "3 h ago" in cells["oldest"]
        assert SCRIPT not in listed


def test_what_waits_is_counted_in_one_statement_for_all_rows(staff: Client) -> None:
    mark = uuid4().hex
    statements = []
    for number in range(2):
        for index in range(1 + 4 * number):
            stream_of(registration.register_agent(f"{mark}-{number}-{index}", URL).endpoint)
        with CaptureQueriesContext(connection) as queries:
            page(staff, "agentendpoint_changelist", q=mark)
        statements.append([one["sql"] for one in queries if "agents_deliverystream" in one["sql"]])
    assert [len(one) for one in statements] == [1, 1]


def test_streams_are_counted_to_a_limit(
    staff: Client, agent: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        stream_of(agent)
    monkeypatch.setattr(backlog, "STREAMS_COUNTED", 2)
    assert backlog.backlogs([agent])[agent.pk].streams == 3


def test_a_count_that_takes_too_long_is_given_up(
    staff: Client, agent: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MILLISECONDS", 1)
    monkeypatch.setattr(backlog, "BACKLOGS", "SELECT pg_sleep(1), %(ids)s, %(disabled)s, %(counted)s")
    assert backlog.backlogs([agent]) == {}
    assert agent.name in page(staff, "agentendpoint_changelist", q=agent.agent_id)
    assert "–" in endpoint_page(staff, agent)
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_what_a_disabled_endpoint_has_not_got_counts_too(agent: Endpoint) -> None:
    stream_of(agent)
    registration.update_agent(agent.name, enabled=False)
    agent.refresh_from_db()
    counted = backlog.backlogs([agent])[agent.pk]
    assert (counted.waiting, counted.lag) == (1, 6)


def test_every_endpoint_has_one_health_and_is_found_by_it(staff: Client) -> None:
    mark, now = uuid4().hex, timezone.now()
    kinds: dict[Health, dict[str, Any]] = {
        Health.OK: {"last_success_at": now, "last_failure_at": now},
        Health.FAILING: {"failures": 1, "last_success_at": now},
        Health.OPEN: {"failures": 10, "opened_at": now},
        Health.DISABLED: {"enabled": False, "opened_at": now},
        Health.NEVER_CALLED: {},
    }
    for health, fields in kinds.items():
        made = registration.register_agent(f"{mark}-{health.name}", URL).endpoint
        Endpoint.objects.filter(pk=made.pk).update(**fields)
    for health in kinds:
        (found,) = Endpoint.objects.filter(CONDITIONS[health], agent__id__startswith=mark)
        assert found.agent_id == f"{mark}-{health.name}"
        assert health_of(found) == health
        listed = page(staff, "agentendpoint_changelist", q=mark, health=health.name.lower())
        assert set(re.findall(rf"{mark}-(\w+)", listed)) == {health.name}


def test_endpoints_are_found_by_id_and_url(staff: Client, subscription: Endpoint) -> None:
    mark = uuid4().hex
    registration.register_agent(f"bot-{mark}", f"http://127.0.0.1:9/{mark[::-1]}")
    for term in (mark[3:], mark[::-1]):
        assert f"bot-{mark}" in page(staff, "agentendpoint_changelist", q=term)
    assert "0 agent endpoints" in page(staff, "agentendpoint_changelist", q=f"no-{mark}")
    for term in (str(subscription.public_id), subscription.name):
        assert subscription.description in page(staff, "subscription_changelist", q=term)


def test_no_list_of_streams_or_attempts_counts_or_scans_the_table(staff: Client, agent: Endpoint) -> None:
    for fields in ({"due_at": timezone.now()}, {"parked_at": timezone.now(), "park_reason": "exhausted"}):
        for _ in range(51):  # more than a page
            attempt_of(stream_of(agent, **fields))
    for table, queries in {
        "deliverystream": ({}, {"state": "parked"}, {"state": "due"}, {"endpoint__id__exact": agent.pk}),
        "attempt": ({}, {"outcome": "refused"}, {"q": agent.agent_id}),
    }.items():
        for query in queries:
            with CaptureQueriesContext(connection) as captured:
                page(staff, f"{table}_changelist", **query)
            reads = [one["sql"] for one in captured if f'FROM "agents_{table}"' in one["sql"]]
            assert reads
            assert [sql for sql in reads if "LIMIT" not in sql and "MAX(" not in sql] == []


# The page of an endpoint.


def test_what_an_endpoint_keeps_to_itself_is_never_shown(staff: Client) -> None:
    private = secrets.Private({"x-tenant": "value-of-the-header"}, "key-of-the-agent")
    made = registration.register_agent(f"bot-{uuid4().hex}", URL, private=private)
    shown = endpoint_page(staff, made.endpoint)
    assert "x-tenant" in shown
    assert made.endpoint.secrets[0]["id"] in shown
    sealed = (made.secret, made.endpoint.secrets[0]["sealed"], made.endpoint.sealed)
    for secret in ("value-of-the-header", "key-of-the-agent", *sealed):
        assert secret not in shown


def test_the_newest_attempts_are_on_the_page(staff: Client, agent: Endpoint) -> None:
    stream = stream_of(agent)
    attempts = [attempt_of(stream, error=f"number {number} {SCRIPT}") for number in range(25)]
    for shown in (endpoint_page(staff, agent), page(staff, "deliverystream_change", stream.pk)):
        assert reverse("admin:agents_attempt_change", args=(attempts[-1].pk,)) in shown
        assert "number 24 " in shown
        assert "number 4 " not in shown
        assert SCRIPT not in shown


def test_a_new_agent_shows_its_secret_once(staff: Client, caplog: pytest.LogCaptureFixture) -> None:
    agent_id = f"bot-{uuid4().hex}"
    form = {
        "agent_id": agent_id,
        "display_name": "A bot",
        "url": "http://agent:8080/",
        "dialect": "openai",
        "options": '{"model": "m"}',
        "trigger": "mention",
        "while_running": "interrupt",
        "context_messages": "",
        "context_tokens": "900",
        "debounce_ms": "5",
        "timeout_seconds": "2.5",
        "max_in_flight": "3",
        "description": "d",
        "api_key": "sk-1",
        "headers": '{"x-a": "b"}',
    }
    with caplog.at_level(logging.DEBUG):
        response = staff.post(reverse("admin:agents_agentendpoint_add"), form)
    (shown,) = SECRET.findall(response.content.decode())
    made = Endpoint.objects.get(agent_id=agent_id)
    assert secrets.open_secrets(made.secrets, timezone.now()) == [shown]
    assert secrets.open_private(made.sealed) == secrets.Private({"x-a": "b"}, "sk-1")
    kept = (made.url, made.dialect, made.options, made.trigger, made.while_running, made.context_messages)
    assert kept == ("http://agent:8080/", "openai", {"model": "m"}, "mention", "interrupt", None)
    assert (made.context_tokens, made.debounce_ms, made.timeout_seconds, made.max_in_flight) == (
        900,
        5,
        2.5,
        3,
    )
    assert Participant.objects.get(id=agent_id).kind == "agent"
    assert "no-store" in response["Cache-Control"]
    assert_nowhere_else(staff, made, shown, caplog)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("url", "ftp://agent/", "url must be an http"),
        ("url", "http://user:password@agent/", "password"),
        ("agent_id", "with space", "id"),
        ("options", '{"nonsense": 1}', "options.nonsense"),
        ("options", "[1]", "must be an object"),
        ("options", '{"model": "\\u0000"}', "options"),
        ("headers", '{"webhook-id": "1"}', "webhook-id"),
        ("headers", '{"x-a": 1}', "string values"),
        ("debounce_ms", "60001", "60000"),
        ("timeout_seconds", "nan", "number"),
    ],
)
def test_a_form_that_breaks_the_rules_is_refused(staff: Client, field: str, value: str, said: str) -> None:
    agent_id = f"bot-{uuid4().hex}"
    form = {
        "agent_id": agent_id,
        "url": URL,
        "dialect": "openai",
        "options": '{"model": "m"}',
        "trigger": "all",
        "while_running": "queue",
        "context_messages": "50",
        field: value,
    }
    response = staff.post(reverse("admin:agents_agentendpoint_add"), form)
    assert response.status_code == 200
    errors = re.findall(r'<ul class="errorlist".*?</ul>', response.content.decode(), re.DOTALL)
    assert said in " ".join(errors)
    assert not Endpoint.objects.filter(agent_id=agent_id).exists()


def test_an_agent_is_not_registered_twice_and_a_system_participant_never(
    staff: Client, agent: Endpoint
) -> None:
    system = Participant.objects.create(id=f"system-{uuid4().hex}", kind="system")
    for agent_id, said in ((agent.agent_id, "registered already"), (system.id, "cannot become an agent")):
        form = {
            "agent_id": agent_id,
            "url": URL,
            "dialect": "webhook",
            "trigger": "all",
            "while_running": "queue",
        }
        response = staff.post(reverse("admin:agents_agentendpoint_add"), form, follow=True)
        assert said in response.content.decode()
    assert Endpoint.objects.filter(agent_id__in=(agent.agent_id, system.id)).count() == 1


def test_a_new_subscription_shows_its_secret_once(staff: Client, caplog: pytest.LogCaptureFixture) -> None:
    name = f"sync-{uuid4().hex}"
    form = {
        "event": "message.created",
        "url": URL,
        "description": name,
        "key_prefix": "room-",
        "participant_id": "alice",
        "conversation_kinds": ["group"],
        "message_kinds": "text, tool_call",
    }
    with caplog.at_level(logging.DEBUG):
        response = staff.post(reverse("admin:agents_subscription_add"), form)
    (shown,) = SECRET.findall(response.content.decode())
    made = Endpoint.objects.get(description=name)
    assert (made.event, made.key_prefix, made.participant_id) == ("message.created", "room-", "alice")
    assert (made.conversation_kinds, made.message_kinds) == (["group"], ["text", "tool_call"])
    assert_nowhere_else(staff, made, shown, caplog)
    staff.post(
        reverse("admin:agents_subscription_change", args=(made.pk,)),
        {"url": "http://127.0.0.1:9/other", "description": name, "event": "inbox.updated", "key_prefix": "x"},
    )
    made.refresh_from_db()
    assert (made.url, made.event, made.key_prefix) == ("http://127.0.0.1:9/other", "message.created", "room-")


def test_settings_are_changed_and_what_was_not_given_stays(staff: Client) -> None:
    private = secrets.Private({"x-a": "b"}, "sk-1")
    agent = registration.register_agent(
        f"bot-{uuid4().hex}", URL, private=private, context_messages=7
    ).endpoint
    Endpoint.objects.filter(pk=agent.pk).update(failures=11, opened_at=timezone.now())
    form = {
        "display_name": "Renamed",
        "url": "http://127.0.0.1:9/moved",
        "dialect": "webhook",
        "trigger": "none",
        "while_running": "queue",
        "context_messages": "7",
        "enabled": "",
        "failures": "5",
    }
    change = reverse("admin:agents_agentendpoint_change", args=(agent.pk,))
    assert staff.post(change, form).status_code == 302
    agent.refresh_from_db()
    assert (agent.url, agent.trigger, agent.context_messages) == ("http://127.0.0.1:9/moved", "none", 7)
    assert (agent.enabled, agent.failures, agent.opened_at) == (True, 0, None)
    assert Participant.objects.get(id=agent.agent_id).display_name == "Renamed"
    assert secrets.open_private(agent.sealed) == private
    assert "URL" in logged(agent)[0]
    staff.post(change, {**form, "headers": "{}", "remove_api_key": "on"})
    agent.refresh_from_db()
    assert secrets.open_private(agent.sealed) == secrets.Private()
    assert agent.header_names == []


def test_endpoints_are_deleted_with_their_streams(
    staff: Client, agent: Endpoint, subscription: Endpoint
) -> None:
    for endpoint in (agent, subscription):
        stream = stream_of(endpoint)
        address = reverse(f"admin:agents_{kind_of(endpoint)}_delete", args=(endpoint.pk,))
        assert "Delete" in staff.get(address).content.decode()
        assert staff.post(address, {"post": "yes"}).status_code == 302
        assert not Endpoint.objects.filter(pk=endpoint.pk).exists()
        assert not DeliveryStream.objects.filter(pk=stream.pk).exists()
    assert Participant.objects.filter(id=agent.agent_id).exists()


# The buttons of an endpoint.


def assert_nowhere_else(
    staff: Client, endpoint: Endpoint, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret that was shown is on no later page, in no cookie, session or log."""
    later = endpoint_page(staff, endpoint) + page(staff, f"{kind_of(endpoint)}_changelist")
    history = staff.get(reverse(f"admin:agents_{kind_of(endpoint)}_history", args=(endpoint.pk,)))
    kept = [later, history.content.decode(), str(staff.cookies), str(dict(staff.session)), caplog.text]
    assert not any(secret in text for text in (*kept, *logged(endpoint)))


@pytest.mark.parametrize("kind", ["agent", "subscription"])
def test_a_rotated_secret_is_shown_once(
    staff: Client, kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint: Endpoint = request.getfixturevalue(kind)
    (former,) = secrets.open_secrets(endpoint.secrets, timezone.now())
    assert "overlap_seconds" in staff.get(press_address(endpoint, "rotate")).content.decode()
    with caplog.at_level(logging.DEBUG):
        response = staff.post(press_address(endpoint, "rotate"), {"overlap_seconds": "3600"})
    (shown,) = SECRET.findall(response.content.decode())
    assert "no-store" in response["Cache-Control"]
    endpoint.refresh_from_db()
    assert secrets.open_secrets(endpoint.secrets, timezone.now()) == [shown, former]
    assert "ends" in endpoint_page(staff, endpoint)
    assert logged(endpoint) == ["Rotated the signing secret."]
    assert_nowhere_else(staff, endpoint, shown, caplog)
    staff.post(press_address(endpoint, "rotate"), {"overlap_seconds": "0"})
    endpoint.refresh_from_db()
    assert len(secrets.open_secrets(endpoint.secrets, timezone.now())) == 1


def test_an_overlap_that_is_none_rotates_nothing(staff: Client, agent: Endpoint) -> None:
    for wrong in ("", "-1", "nan", "1e99"):
        assert not SECRET.search(press(staff, agent, "rotate", overlap_seconds=wrong))
    agent.refresh_from_db()
    assert len(agent.secrets) == 1


def test_disabled_is_not_called_and_enabled_gets_what_it_missed(staff: Client, agent: Endpoint) -> None:
    stream = stream_of(agent, due_at=timezone.now())
    assert "until it is enabled again" in staff.get(press_address(agent, "disable")).content.decode()
    agent.refresh_from_db()
    assert agent.enabled
    press(staff, agent, "disable")
    stream.refresh_from_db()
    assert (stream.enabled, stream.due_at) == (False, None)
    assert "Enable" in endpoint_page(staff, agent)
    press(staff, agent, "enable")
    stream.refresh_from_db()
    assert stream.enabled
    assert stream.due_at is not None
    assert [message.split(".")[0] for message in logged(agent)] == ["Enabled", "Disabled"]


def test_a_closed_breaker_lets_everything_through(staff: Client, agent: Endpoint) -> None:
    Endpoint.objects.filter(pk=agent.pk).update(
        failures=12, opened_at=timezone.now(), probe_at=timezone.now()
    )
    stream = stream_of(agent, blocked=True, due_at=timezone.now() + timedelta(days=1))
    assert "Close breaker" in endpoint_page(staff, agent)
    press(staff, agent, "close-breaker")
    agent.refresh_from_db()
    stream.refresh_from_db()
    assert (agent.failures, agent.opened_at, stream.blocked) == (0, None, False)
    assert stream.due_at is not None
    assert stream.due_at <= timezone.now()
    assert "Close breaker" not in endpoint_page(staff, agent)


def test_all_that_was_given_up_is_resumed_in_batches_and_what_was_paused_is_not(
    staff: Client, agent: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_buttons, "BATCH", 2)
    given_up = [stream_of(agent, parked_at=timezone.now(), park_reason="exhausted") for _ in range(5)]
    paused = stream_of(agent)
    operations.park(DeliveryStream.objects.filter(pk=paused.pk))
    assert "Resumed 5 parked streams." in press(staff, agent, "resume-all")
    left = DeliveryStream.objects.filter(endpoint_id=agent.pk, parked_at__isnull=False)
    assert [stream.pk for stream in left] == [paused.pk]
    assert (
        DeliveryStream.objects.filter(pk__in=[one.pk for one in given_up], due_at__isnull=False).count() == 5
    )


class Answering(BaseHTTPRequestHandler):
    """An agent that answers every call alike, and keeps the last."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.last = dict(self.headers.items()), body  # type: ignore[attr-defined]
        answer = f'{{"text": "{SCRIPT}"}}'.encode()
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        pass


@pytest.fixture
def answering() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.status = 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["agent", "subscription"])
def test_a_test_call_is_signed_and_its_answer_is_shown_escaped(
    staff: Client, kind: str, request: pytest.FixtureRequest, answering: Any
) -> None:
    endpoint: Endpoint = request.getfixturevalue(kind)
    Endpoint.objects.filter(pk=endpoint.pk).update(url=f"http://127.0.0.1:{answering.server_address[1]}/")
    shown = press(staff, endpoint, "test")
    headers, body = answering.last
    (secret,) = secrets.open_secrets(endpoint.secrets, timezone.now())
    assert Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    assert re.search(r"answered</span> <strong>200</strong>\s*<span[^>]*>after \d+ ms", shown)
    assert "&lt;script&gt;alert(1)" in shown
    assert SCRIPT not in shown
    assert "Sent a test call: answered (200)." in logged(endpoint)
    answering.status = 500
    assert "refused</span> <strong>500</strong>" in press(staff, endpoint, "test")
    assert not DeliveryStream.objects.filter(endpoint_id=endpoint.pk).exists()


def test_a_test_call_to_nobody_says_why(staff: Client, agent: Endpoint) -> None:
    assert "unreachable</span>" in press(staff, agent, "test")
    Endpoint.objects.filter(pk=agent.pk).update(url="http://10.1.2.3/")
    assert "blocked</span>" in press(staff, agent, "test")


# Who may.

ENDPOINT_BUTTONS = ("test", "rotate", "disable", "enable", "close-breaker", "resume-all")
STREAM_BUTTONS = ("resume", "pause", "retry-now", "skip", "replay", "rewind", "redeliver", "skip-to")


def test_onlookers_see_everything_and_press_nothing(
    onlooker: Client, agent: Endpoint, subscription: Endpoint
) -> None:
    for endpoint in (agent, subscription):
        stream = stream_of(endpoint, due_at=timezone.now(), call_id=uuid4(), call_seq=6)
        attempt = attempt_of(stream)
        shown = endpoint_page(onlooker, endpoint) + page(onlooker, "deliverystream_change", stream.pk)
        shown += page(onlooker, "attempt_change", attempt.pk) + page(onlooker, "deliverystream_changelist")
        assert "/do/" not in shown
        assert 'name="action"' not in shown
        assert 'type="submit" value="Save"' not in shown
        for row, names in ((endpoint, ENDPOINT_BUTTONS), (stream, STREAM_BUTTONS)):
            for name in names:
                given = {"overlap_seconds": "0", "seq": "6", "from_seq": "1", "to_seq": "2"}
                assert onlooker.post(press_address(row, name), given).status_code == 403
                assert onlooker.get(press_address(row, name)).status_code == 403
        onlooker.post(
            reverse("admin:agents_deliverystream_changelist"),
            {"action": "pause", "_selected_action": [stream.pk]},
        )
        change = reverse(f"admin:agents_{kind_of(endpoint)}_change", args=(endpoint.pk,))
        assert onlooker.post(change, {"url": "http://stolen/"}).status_code == 403
        delete = reverse(f"admin:agents_{kind_of(endpoint)}_delete", args=(endpoint.pk,))
        assert onlooker.post(delete, {"post": "yes"}).status_code == 403
        assert onlooker.get(reverse(f"admin:agents_{kind_of(endpoint)}_add")).status_code == 403
        before = (endpoint.url, endpoint.secrets, endpoint.enabled)
        endpoint.refresh_from_db()
        assert (endpoint.url, endpoint.secrets, endpoint.enabled) == before
        stream.refresh_from_db()
        assert (stream.parked_at, stream.call_seq, stream.cursor) == (None, 6, 4)
        assert logged(endpoint) + logged(stream) == []


def test_a_button_needs_a_login_and_a_token_against_forgery(agent: Endpoint) -> None:
    stranger = Client()
    assert "/login/" in stranger.post(press_address(agent, "disable"))["Location"]
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(get_user_model().objects.create_superuser(f"root-{uuid4().hex}"))
    assert forged.post(press_address(agent, "disable")).status_code == 403
    agent.refresh_from_db()
    assert agent.enabled


def test_who_may_change_endpoints_alone_presses_their_buttons_but_not_those_of_streams(
    agent: Endpoint,
) -> None:
    user = get_user_model().objects.create_user(f"operator-{uuid4().hex}", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="agents", codename="change_endpoint")
    )
    operator = Client()
    operator.force_login(user)
    press(operator, agent, "disable")
    agent.refresh_from_db()
    assert not agent.enabled
    assert operator.post(press_address(stream_of(agent), "pause")).status_code == 403


def test_a_button_that_there_is_not_is_not_found(staff: Client, agent: Endpoint) -> None:
    assert staff.post(press_address(agent, "explode")).status_code == 404
    gone = Endpoint(pk=2**40, agent_id="x")
    assert staff.post(press_address(gone, "disable")).status_code == 404
    assert staff.put(press_address(agent, "disable")).status_code == 405


# Streams.


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"cursor": 10}, "idle"),
        ({"due_at": timezone.now()}, "due"),
        ({"due_at": timezone.now(), "lease_id": uuid4()}, "calling"),
        ({"due_at": timezone.now(), "first_failed_at": timezone.now()}, "retrying"),
        ({"due_at": timezone.now(), "blocked": True, "first_failed_at": timezone.now()}, "blocked"),
        ({"parked_at": timezone.now(), "park_reason": "exhausted"}, "parked"),
        ({"parked_at": timezone.now(), "park_reason": "operator"}, "paused"),
        ({"handed_over": True}, "handed_over"),
        ({"enabled": False}, "disabled"),
    ],
)
def test_every_stream_has_one_state_and_is_found_by_it(
    staff: Client, agent: Endpoint, fields: dict[str, Any], state: str
) -> None:
    stream = stream_of(agent, **fields)
    assert state_of(stream).name == state
    chosen = [name for name, one in BY_NAME.items() if agent.streams.filter(one.condition).exists()]
    assert chosen == [state]
    listed = page(staff, "deliverystream_changelist", q=agent.agent_id, state=state)
    assert stream.conversation.key in listed
    assert BY_NAME[state].label in page(staff, "deliverystream_change", stream.pk)


def test_streams_are_found_by_endpoint_and_conversation(
    staff: Client, agent: Endpoint, subscription: Endpoint
) -> None:
    one, other = stream_of(agent), stream_of(subscription)
    for term, found, hidden in (
        (agent.agent_id, one, other),
        (subscription.name, other, one),
        (str(subscription.public_id), other, one),
        (one.conversation.key, one, other),
    ):
        listed = page(staff, "deliverystream_changelist", q=term)
        assert found.conversation.key in listed
        assert hidden.conversation.key not in listed


def test_the_buttons_of_a_stream(staff: Client, agent: Endpoint) -> None:
    pending = {"call_id": uuid4(), "call_seq": 6, "attempts": 3, "first_failed_at": timezone.now()}
    stream = stream_of(agent, due_at=timezone.now() + timedelta(hours=1), **pending)

    def now() -> DeliveryStream:
        stream.refresh_from_db()
        return stream

    press(staff, stream, "retry-now")
    due_at = now().due_at
    assert due_at is not None
    assert due_at <= timezone.now()
    press(staff, stream, "pause")
    assert (now().park_reason, stream.due_at) == ("operator", None)
    assert "It is parked already." in press(staff, stream, "pause")
    press(staff, stream, "resume")
    assert now().parked_at is None
    assert "never delivered" in staff.get(press_address(stream, "skip")).content.decode()
    assert now().cursor == 4
    press(staff, stream, "skip")
    assert (now().cursor, stream.call_id) == (6, None)
    press(staff, stream, "replay")
    assert (now().replay_cursor, stream.replay_to, stream.cursor) == (4, 6, 6)
    press(staff, stream, "skip")
    assert (now().replay_to, stream.cursor) == (None, 6)
    press(staff, stream, "redeliver", from_seq=2, to_seq=3)
    assert (now().replay_cursor, stream.replay_to) == (1, 3)
    press(staff, stream, "rewind", from_seq=2)
    assert (now().cursor, stream.replay_to) == (1, None)
    press(staff, stream, "skip-to", seq=8)
    assert now().cursor == 8
    refused = press(staff, stream, "rewind", from_seq=11)
    assert "must be 1 to 10" in refused, re.findall(r"messagelist.*?</ul>", refused, re.DOTALL)
    assert "Ensure this value" in press(staff, stream, "rewind", from_seq=0)
    assert now().cursor == 8
    assert len(logged(stream)) == 9


def test_a_pause_outlives_a_rewind_and_the_operator_is_told(staff: Client, agent: Endpoint) -> None:
    stream = stream_of(agent, parked_at=timezone.now(), park_reason="operator")
    assert "nothing is delivered until it is resumed" in press(staff, stream, "rewind", from_seq=2)
    stream.refresh_from_db()
    assert (stream.cursor, stream.park_reason, stream.due_at) == (1, "operator", None)


def test_a_lag_is_the_same_here_and_over_rest(staff: Client, agent: Endpoint) -> None:
    stream = stream_of(agent, cursor=9, wanted_seq=9)
    shown = page(staff, "deliverystream_change", stream.pk)
    assert "<dt>lag</dt><dd>0</dd>" in shown
    assert as_answer(stream)["lag"] == 0


def titles(text: str) -> tuple[str, str]:
    """What the window and the path above the page say."""
    title = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    crumbs = re.search(r'<div class="breadcrumbs">(.*?)</div>', text, re.DOTALL)
    assert title is not None
    assert crumbs is not None
    return title[1].strip(), crumbs[1]


def test_pages_are_titled_with_what_people_call_things(
    staff: Client, agent: Endpoint, subscription: Endpoint
) -> None:
    for endpoint in (agent, subscription):
        name = endpoint.agent_id or endpoint.description
        stream = stream_of(endpoint)
        over = f"{name} over {stream.conversation.key}"
        attempt = attempt_of(stream)
        for text, called in (
            (endpoint_page(staff, endpoint), name),
            (page(staff, "deliverystream_change", stream.pk), over),
            (page(staff, "attempt_change", attempt.pk), f"{over}: attempt 1, refused"),
            (staff.get(press_address(stream, "rewind")).content.decode(), over),
            (staff.get(press_address(endpoint, "rotate")).content.decode(), name),
        ):
            title, crumbs = titles(text)
            assert title.startswith(called), title
            assert called in crumbs
            assert str(subscription.public_id) not in title + crumbs


def test_a_form_of_a_stream_asks_with_what_was_filled_in(staff: Client, agent: Endpoint) -> None:
    asked = staff.get(press_address(stream_of(agent), "redeliver"), {"from_seq": "2", "to_seq": "3"})
    for name, value in (("from_seq", "2"), ("to_seq", "3")):
        assert re.search(rf'name="{name}" value="{value}"', asked.content.decode())


def test_actions_on_selected_streams(staff: Client, agent: Endpoint) -> None:
    streams = [stream_of(agent, due_at=timezone.now() + timedelta(hours=1)) for _ in range(3)]
    streams[0].call_id, streams[0].call_seq = uuid4(), 6
    streams[0].save()

    def act(name: str) -> str:
        form = {"action": name, "_selected_action": [stream.pk for stream in streams]}
        response = staff.post(reverse("admin:agents_deliverystream_changelist"), form, follow=True)
        return response.content.decode()

    assert "3 to be retried now." in act("retry_now")
    answer = act("skip")
    assert "1 skipped." in answer
    assert "2 stayed as they were." in answer
    assert "3 paused." in act("pause")
    assert "3 resumed." in act("resume")
    assert "3 to be delivered again." in act("replay")
    for stream in streams:
        stream.refresh_from_db()
    assert [stream.cursor for stream in streams] == [6, 4, 4]
    assert [stream.replay_to for stream in streams] == [6, 4, 4]
    assert [len(logged(stream)) for stream in streams] == [5, 4, 4]


# Attempts.


def test_an_attempt_is_readable_and_escaped(staff: Client, agent: Endpoint) -> None:
    attempt = attempt_of(
        stream_of(agent),
        error=f"Refused {SCRIPT}",
        request='POST http://agent/\nx-tenant: …\n\n{"type":"message.created","text":"héllo"}',
        response=f"502\nx-evil: {SCRIPT}\n\n<html>{SCRIPT}",
    )
    shown = page(staff, "attempt_change", attempt.pk)
    assert SCRIPT not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3
    assert (
        "{\n  &quot;type&quot;: &quot;message.created&quot;,\n  &quot;text&quot;: &quot;héllo&quot;\n}"
        in shown
    )
    listed = page(staff, "attempt_changelist", q=agent.agent_id, outcome="failures")
    assert "&lt;script&gt;" in listed
    assert SCRIPT not in listed


def test_an_attempt_without_its_stream_is_shown(staff: Client, agent: Endpoint) -> None:
    stream = stream_of(agent)
    attempt = attempt_of(stream, error="of a stream that is gone")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM agents_deliverystream WHERE id = %s", (stream.pk,))
    assert "of a stream that is gone" in page(staff, "attempt_changelist")
    assert "(gone)" in page(staff, "attempt_change", attempt.pk)
    attempt.delete()


def test_attempts_are_found_by_endpoint_and_conversation(
    staff: Client, agent: Endpoint, subscription: Endpoint
) -> None:
    one, other = stream_of(agent), stream_of(subscription)
    attempt_of(one, error="of the agent")
    attempt_of(other, error="of the subscription", outcome="answered")
    for term in (agent.agent_id, one.conversation.key):
        listed = page(staff, "attempt_changelist", q=term)
        assert "of the agent" in listed
        assert "of the subscription" not in listed
    assert "of the agent" not in page(staff, "attempt_changelist", q=agent.agent_id, outcome="answered")
