"""Agents as developers and operators meet them: REST, the admin and the commands."""

from collections.abc import AsyncIterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client
from django.utils import timezone

from agents import operations, registration
from agents.models import AgentEndpoint, Attempt, DeliveryStream
from conversations.models import Conversation, Message
from fleetlm.auth.keys import make_key
from runtime import members
from runtime.core import current
from runtime.database import in_thread

pytestmark = pytest.mark.filterwarnings("ignore:No directory at")

URL = "http://127.0.0.1:9/agent"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:12]}"


class Rest:
    """The API for one key."""

    def __init__(self, key: str) -> None:
        self._client = AsyncClient()
        self._headers = {"authorization": f"Bearer {key}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = "" if body is None else orjson.dumps(body).decode()
        response = await self._client.generic(
            method, path, data, content_type="application/json", headers=self._headers
        )
        return response.status_code, orjson.loads(response.content) if response.content else None


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    yield Rest((await in_thread(make_key, "test", ["admin"]))[1])
    await current().stop()


async def test_an_agent_is_registered_read_changed_and_deleted(rest: Rest) -> None:
    agent_id = unique("agent")
    status, made = await rest("POST", "/api/agents", {"id": agent_id, "url": URL, "display_name": "Ship"})
    assert status == 201
    assert made.pop("secret").startswith("whsec_")
    assert (made["context"], made["enabled"], made["dialect"]) == (50, True, "webhook")
    assert await rest("GET", f"/api/agents/{agent_id}") == (200, made)
    changes = {"context": "all", "enabled": False, "metadata": {"team": 1}, "debounce_ms": 10}
    status, changed = await rest("PATCH", f"/api/agents/{agent_id}", changes)
    assert status == 200
    assert changed.items() >= changes.items()
    _, page = await rest("GET", "/api/agents?limit=200")
    assert changed in page["agents"]
    assert "secret" not in str(page)
    assert await rest("DELETE", f"/api/agents/{agent_id}") == (204, None)
    assert (await rest("GET", f"/api/agents/{agent_id}"))[0] == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"url": "ftp://example.com"}, 400),
        ({"url": "http://"}, 400),
        ({"url": "http://[half"}, 400),
        ({"url": "http://me:secret@example.com/"}, 400),
        ({"url": None}, 400),
        ({"context": 0}, 400),
        ({"context": "some"}, 400),
        ({"debounce_ms": -1}, 400),
        ({"debounce_ms": 10**9}, 400),
        ({"dialect": "telepathy"}, 400),
        ({"id": "no:colon"}, 400),
        ({"metadata": {"x": "y" * 100_000}}, 413),
        ({"secret": "mine"}, 400),
    ],
)
async def test_what_cannot_be_an_agent_is_refused(rest: Rest, changes: dict[str, Any], status: int) -> None:
    body = {"id": unique("agent"), "url": URL} | changes
    found, answer = await rest("POST", "/api/agents", body)
    assert (found, set(answer)) == (status, {"error"})


async def test_an_agent_is_registered_once(rest: Rest) -> None:
    body = {"id": unique("agent"), "url": URL}
    assert (await rest("POST", "/api/agents", body))[0] == 201
    assert (await rest("POST", "/api/agents", body))[0] == 409


async def test_only_admin_keys_change_agents(rest: Rest) -> None:
    reader = Rest((await in_thread(make_key, "test", ["read"]))[1])
    assert (await reader("GET", "/api/agents"))[0] == 200
    for method, path in (("POST", "/api/agents"), ("PATCH", "/api/agents/x"), ("DELETE", "/api/agents/x")):
        assert (await reader(method, path, {"id": unique("agent"), "url": URL}))[0] == 403


@pytest.fixture
def stream() -> DeliveryStream:
    """A parked stream over a dm with three messages, and its attempt."""
    agent_id, user_id = unique("a"), unique("u")
    registration.register_agent(agent_id, URL)
    key = f"{agent_id}:{user_id}"
    members.ensure_dm(key)
    conversation = Conversation.objects.get(key=key)
    for seq in (1, 2, 3):
        Message.objects.create(
            conversation=conversation,
            seq=seq,
            countable=seq,
            sender_id=user_id,
            text=f"message {seq}",
            created_at=timezone.now(),
        )
    Conversation.objects.filter(id=conversation.id).update(last_seq=3, countable=3)
    stream = DeliveryStream.objects.get(conversation=conversation)
    Attempt.objects.create(
        stream=stream,
        call_id=uuid4(),
        run_id=uuid4(),
        number=1,
        from_seq=1,
        to_seq=3,
        outcome="refused",
        status=500,
        duration_ms=1,
    )
    DeliveryStream.objects.filter(id=stream.id).update(wanted_seq=3)
    operations.park(DeliveryStream.objects.filter(id=stream.id))
    return DeliveryStream.objects.get(id=stream.id)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser(unique("root")))
    return client


def test_every_admin_page_answers_and_none_shows_a_secret(staff: Client, stream: DeliveryStream) -> None:
    sealed = AgentEndpoint.objects.get(id=stream.endpoint_id).secrets[0]["sealed"]
    pages = [
        f"agentendpoint/?q={stream.agent_id}",
        f"agentendpoint/{stream.endpoint_id}/change/",
        *(f"deliverystream/?state={state}" for state in ("calling", "due", "failing", "parked")),
        f"deliverystream/?q={stream.agent_id}",
        f"deliverystream/?q={stream.conversation.key}",
        f"deliverystream/{stream.id}/change/",
        f"attempt/?q={stream.conversation.key}",
        f"attempt/{stream.attempts_log.get().id}/change/",
    ]
    for page in pages:
        response = staff.get(f"/admin/agents/{page}")
        assert response.status_code == 200, page
        assert sealed not in response.content.decode()
    for page in ("agentendpoint", "deliverystream", "attempt"):
        assert staff.get(f"/admin/agents/{page}/add/").status_code == 403


def act(staff: Client, action: str, stream: DeliveryStream) -> DeliveryStream:
    form = {"action": action, "_selected_action": [str(stream.id)]}
    response = staff.post("/admin/agents/deliverystream/", form)
    assert response.status_code == 302
    return DeliveryStream.objects.get(id=stream.id)


def test_an_operator_resumes_parks_and_replays(staff: Client, stream: DeliveryStream) -> None:
    resumed = act(staff, "resume", stream)
    assert (resumed.parked_at, resumed.cursor) == (None, 0)
    assert resumed.due_at is not None
    parked = act(staff, "park", stream)
    assert parked.due_at is None
    assert parked.parked_at is not None
    replayed = act(staff, "replay", stream)
    assert (replayed.parked_at, replayed.cursor) == (None, 2)
    assert replayed.due_at is not None


def run(*arguments: str) -> str:
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def test_replay_prints_a_conversation(stream: DeliveryStream) -> None:
    lines = run("replay", stream.conversation.key, "--after", "1", "--before", "3").splitlines()
    (message,) = (orjson.loads(line) for line in lines)
    assert (message["seq"], message["text"], message["conversation"]) == (
        2,
        "message 2",
        stream.conversation.key,
    )


def test_replay_rewinds_an_agent(stream: DeliveryStream) -> None:
    run("replay", stream.conversation.key, "--agent", stream.agent_id, "--from-seq", "2")
    rewound = DeliveryStream.objects.get(id=stream.id)
    assert (rewound.cursor, rewound.wanted_seq, rewound.parked_at) == (1, 3, None)
    assert rewound.due_at is not None


@pytest.mark.parametrize(
    "arguments", [["--agent", "nobody", "--from-seq", "1"], ["--agent", "nobody"], ["--after", "-1"]]
)
def test_replay_refuses_what_cannot_be(stream: DeliveryStream, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("replay", stream.conversation.key, *arguments)


def test_prune_forgets_old_attempts_only(stream: DeliveryStream) -> None:
    old = stream.attempts_log.get()
    Attempt.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=10))
    young = Attempt.objects.create(
        stream=stream,
        call_id=uuid4(),
        run_id=uuid4(),
        number=2,
        from_seq=1,
        to_seq=3,
        outcome="accepted",
        status=204,
        duration_ms=1,
    )
    run("prune", "--days", "9")
    assert list(stream.attempts_log.values_list("id", flat=True)) == [young.id]
