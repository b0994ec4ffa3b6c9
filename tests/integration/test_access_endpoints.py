"""Every endpoint and every topic, and who is refused there.

The tables are compared with the URLconf and with the socket's topics: a new one without a row makes a test fail.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import pytest
from django.urls import URLPattern

from agents.models import DeliveryStream
from fleetlm.auth.keys import make_key
from fleetlm.sockets.consumer import TOPICS
from fleetlm.urls import urlpatterns
from tests.integration.server import Answer, Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

ME = "<whoever calls, or a member if a server calls>"

LAST = "<the group's last seq>"

NOT_A_MEMBER = (403, "not_a_member")
NOT_ALLOWED = (403, "not_allowed")
OK = "ok"

OPEN_TO_ALL = {
    "": "the playground, in development and for staff",
    "favicon.ico": "",
    "admin/": "has its own login",
    "health": "",
    "health/live": "",
    "health/ready": "",
    "metrics": "",
    "api/schema": "",
    "api/docs": "",
}
"""Routes that need no credential, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One endpoint: what it takes, the scope that a server needs, and what tokens get.

    `outsider` is no member; `member` is one without the role admin; `narrowed` is that member with a token for
    some other conversation.
    """

    method: str
    route: str
    query: str = ""
    body: Any = None
    scope: Literal["read", "write", "admin"]
    outsider: tuple[int, str] | str
    member: tuple[int, str] | str = OK
    narrowed: tuple[int, str] | str = NOT_A_MEMBER

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


def of_conversation(method: str, suffix: str, scope: Literal["read", "write"], **rest: Any) -> Row:
    route = f"api/conversations/<str:key>{suffix}"
    return Row(method=method, route=route, scope=scope, outsider=NOT_A_MEMBER, **rest)


def of_server(method: str, route: str, scope: Literal["read", "write", "admin"], body: Any = None) -> Row:
    return Row(
        method=method,
        route=route,
        scope=scope,
        body=body,
        outsider=NOT_ALLOWED,
        member=NOT_ALLOWED,
        narrowed=NOT_ALLOWED,
    )


def of_oneself(method: str, route: str, **rest: Any) -> Row:
    return Row(method=method, route=route, scope="read", outsider=NOT_ALLOWED, **rest)


MEMBER = "/participants/<str:participant_id>"
INBOX = "api/inbox/<str:participant_id>"
PARTICIPANT = "api/participants/<str:participant_id>"
AGENT = "api/agents/<str:agent_id>"
NEW_AGENT = {"id": "<new>", "url": "http://127.0.0.1:9/"}
SUBSCRIPTION = "api/subscriptions/<str:subscription_id>"
NEW_SUBSCRIPTION = {"event": "message.created", "url": "http://127.0.0.1:9/"}


def of_endpoint(route: str) -> list[Row]:
    """What agents and subscriptions have alike."""
    stream = f"{route}/streams/<str:key>"
    return [
        of_server("POST", f"{route}/rotate-secret", "admin"),
        of_server("POST", f"{route}/test", "admin"),
        of_server("POST", f"{route}/close-breaker", "admin"),
        of_server("POST", f"{route}/resume", "admin"),
        of_server("GET", f"{route}/attempts", "read"),
        of_server("GET", f"{route}/streams", "read"),
        of_server("GET", stream, "read"),
        of_server("POST", f"{stream}/pause", "admin"),
        of_server("POST", f"{stream}/resume", "admin"),
        of_server("POST", f"{stream}/retry", "admin"),
        of_server("POST", f"{stream}/skip", "admin", {"seq": LAST}),
        of_server("POST", f"{stream}/rewind", "admin", {"from_seq": 1}),
        of_server("POST", f"{stream}/redeliver", "admin", {"from_seq": 1, "to_seq": 1}),
    ]


ROWS = [
    of_server("POST", "api/conversations", "write", {"participants": [ME]}),
    # It lists one's own: see test_api_conversations.
    Row(method="GET", route="api/conversations", scope="read", outsider=OK, narrowed=OK),
    of_conversation("GET", "", "read"),
    of_conversation("PATCH", "", "write", body={"title": "x"}, member=NOT_ALLOWED),
    of_conversation("GET", "/messages", "read"),
    of_conversation("POST", "/messages", "write", body={"sender_id": ME, "text": "x"}),
    of_conversation("POST", "/messages/batch", "write", body={"messages": [{"sender_id": ME, "text": "x"}]}),
    of_conversation("GET", "/events", "read"),
    of_conversation("POST", "/read", "write", body={"participant_id": ME, "seq": 1}),
    of_conversation("POST", "/typing", "write", body={"participant_id": ME, "on": True}),
    of_conversation("GET", "/runs", "read"),
    of_conversation("POST", "/runs/<str:run_id>/cancel", "write"),
    of_conversation("GET", "/participants", "read"),
    of_conversation("POST", "/participants", "write", body={"participants": [ME]}, member=NOT_ALLOWED),
    of_conversation("PATCH", MEMBER, "write", body={"muted": True}),
    of_conversation("DELETE", MEMBER, "write"),
    of_conversation("POST", "/close", "write", member=NOT_ALLOWED),
    of_conversation("POST", "/archive", "write", member=NOT_ALLOWED),
    of_conversation("POST", "/reopen", "write", member=NOT_ALLOWED),
    of_conversation("POST", "/handoff", "write", body={"participant_id": None}, member=NOT_ALLOWED),
    # It finds one's own: see test_api_search.
    Row(
        method="GET",
        route="api/search",
        query=f"q=x&participant_id={ME}",
        scope="read",
        outsider=OK,
        narrowed=OK,
    ),
    of_oneself("GET", INBOX, narrowed=NOT_ALLOWED),
    of_oneself("GET", f"{INBOX}/events", narrowed=NOT_ALLOWED),
    of_server("POST", "api/participants", "write", {"id": "<new>"}),
    of_server("GET", "api/participants", "read"),
    of_oneself("GET", PARTICIPANT, narrowed=OK),
    of_server("PATCH", PARTICIPANT, "write", {"display_name": "x"}),
    of_server("DELETE", PARTICIPANT, "admin"),
    of_server("POST", "api/agents", "admin", NEW_AGENT),
    of_server("GET", "api/agents", "read"),
    of_server("GET", AGENT, "read"),
    of_server("PATCH", AGENT, "admin", {"enabled": False}),
    of_server("DELETE", AGENT, "admin"),
    *of_endpoint(AGENT),
    of_server("PATCH", f"{AGENT}/streams/<str:key>", "admin", {"trigger": None}),
    of_server("POST", "api/subscriptions", "admin", NEW_SUBSCRIPTION | {"key_prefix": "<new>"}),
    of_server("GET", "api/subscriptions", "read"),
    of_server("GET", SUBSCRIPTION, "read"),
    of_server("PATCH", SUBSCRIPTION, "admin", {"enabled": False}),
    of_server("DELETE", SUBSCRIPTION, "admin"),
    *of_endpoint(SUBSCRIPTION),
    of_server("POST", "api/tokens", "write", {"participant_id": ME}),
]

each_row = pytest.mark.parametrize("row", ROWS, ids=str)


@dataclass(frozen=True, slots=True)
class World:
    """A group and a dm of two members, and somebody else."""

    api: Client
    member: str
    friend: str
    outsider: str
    dm: str
    group: str

    def try_row(
        self, row: Row, client: Client, caller: str, key: str | None = None
    ) -> tuple[int, str | None]:
        """Call an endpoint as this caller; what came of it. Streams are left at once."""
        path = "/" + row.route
        for name, value in (
            ("<str:key>", self.group if key is None else key),
            ("<str:participant_id>", self.member),
            ("<str:agent_id>", self._agent() if AGENT in row.route else ""),
            ("<str:run_id>", self._run() if "<str:run_id>" in row.route else ""),
            ("<str:subscription_id>", self._subscription() if SUBSCRIPTION in row.route else ""),
        ):
            path = path.replace(name, value)
        body = None if row.body is None else json.dumps(row.body)
        if body is not None:
            body = body.replace(ME, caller).replace("<new>", unique("new"))
            body = body.replace(f'"{LAST}"', str(self._last_seq()))
        content = None if body is None else body.encode()
        if row.query:
            path += "?" + row.query.replace(ME, caller)
        with client.open(row.method, path, content) as response:
            if response.headers["Content-Type"] == "text/event-stream":
                return response.status, None
            return Answer(response.status, {}, response.read()).verdict

    def _last_seq(self) -> int:
        return int(self.api.ok("GET", f"/api/conversations/{self.group}")["last_seq"])

    def _agent(self) -> str:
        """A new agent, that takes part in the group and has not got its newest message."""
        made = self.api.ok("POST", "/api/agents", NEW_AGENT | {"id": unique("agent")})
        self.api.ok("POST", f"/api/conversations/{self.group}/participants", {"participants": [made["id"]]})
        self.api.say(self.group, self.friend)
        return str(made["id"])

    def _run(self) -> str:
        """A run in the group: a new agent is being called."""
        streams = DeliveryStream.objects.filter(agent_id=self._agent(), conversation__key=self.group)
        run_id, due_at = uuid4(), datetime.now(UTC) + timedelta(hours=1)
        assert streams.update(lease_id=uuid4(), run_id=run_id, due_at=due_at) == 1
        return str(run_id)

    def _subscription(self) -> str:
        """A new subscription, that has not got the newest message of the group."""
        made = self.api.ok("POST", "/api/subscriptions", NEW_SUBSCRIPTION | {"key_prefix": self.group})
        self.api.say(self.group, self.friend)
        return str(made["id"])


@pytest.fixture
def world(api: Client) -> World:
    member, friend = sorted((unique("member"), unique("friend")))
    dm = api.say(f"{member}:{friend}", friend, "private")["conversation"]
    group = api.group(member, friend)
    api.say(group, friend, "private")
    return World(api, member, friend, unique("outsider"), dm, group)


def routes() -> Iterator[tuple[str, str]]:
    """Every method and route of the API that the URLconf serves."""
    for entry in urlpatterns:
        view = getattr(entry.callback, "view_class", None) if isinstance(entry, URLPattern) else None
        route = str(entry.pattern)
        if route in OPEN_TO_ALL:
            continue
        assert view is not None, f"{route} is neither a resource nor in OPEN_TO_ALL"
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(view, method):
                yield method.upper(), route


def test_every_endpoint_has_a_row() -> None:
    assert {(row.method, row.route) for row in ROWS} == set(routes())


@each_row
def test_nobody_is_refused(world: World, nobody: Client, row: Row) -> None:
    assert world.try_row(row, nobody, world.member) == (401, "not_authenticated")


@each_row
def test_an_outsider_is_refused_and_does_not_learn_what_exists(world: World, row: Row) -> None:
    token = world.api.token(world.outsider)
    keys = [world.group]
    if "<str:key>" in row.route:
        backwards = f"{world.friend}:{world.member}"
        keys += [world.dm, backwards, unique("no-such-group"), f"{world.member}:{unique('no-such')}"]
    expected = (200, None) if row.outsider == OK else row.outsider
    assert {world.try_row(row, token, world.outsider, key) for key in keys} == {expected}


@each_row
def test_a_token_for_another_conversation_is_refused(world: World, row: Row) -> None:
    token = world.api.token(world.member, conversations=[unique("elsewhere")])
    keys = [world.group, world.dm] if "<str:key>" in row.route else [world.group]
    expected = (200, None) if row.narrowed == OK else row.narrowed
    assert {world.try_row(row, token, world.member, key) for key in keys} == {expected}


@each_row
def test_a_member_may_do_what_members_may(world: World, row: Row) -> None:
    status, code = world.try_row(row, world.api.token(world.member), world.member)
    assert (OK if status < 300 else (status, code)) == row.member


@each_row
def test_a_key_needs_the_scope(world: World, row: Row) -> None:
    lacking = {"read": ["write"], "write": ["read"], "admin": ["read", "write"]}[row.scope]
    enough = {"read": ["read"], "write": ["read", "write"], "admin": ["admin"]}[row.scope]
    for scopes, allowed in ((lacking, False), (enough, True)):
        key = Client(world.api.server, make_key("tests", scopes)[1])
        status, code = world.try_row(row, key, world.member)
        assert (status < 300, code) == (allowed, None if allowed else "not_allowed")


# Sockets.


def topics(world: World) -> dict[str, tuple[list[str], str, str]]:
    """By prefix: what only its member may join, the code for outsiders, the code for narrowed tokens."""
    backwards = f"{world.friend}:{world.member}"
    return {
        "conversation:": ([world.group, world.dm, backwards], "not_a_member", "not_a_member"),
        "inbox:": ([world.member], "not_allowed", "not_allowed"),
    }


def test_every_topic_has_a_row(world: World) -> None:
    assert set(topics(world)) == set(TOPICS)


def test_topics_refuse_outsiders_and_narrowed_tokens(world: World) -> None:
    narrowed = world.api.token(world.member, conversations=[unique("elsewhere")])
    for prefix, (names, for_outsiders, for_narrowed) in topics(world).items():
        for client, expected in ((world.api.token(world.outsider), for_outsiders), (narrowed, for_narrowed)):
            with client.socket() as socket:
                for name in names:
                    assert socket.refusal(prefix + name, "phx_join") == expected
                    assert socket.refusal(prefix + name, "send", {"text": "x"}) == "not_joined"
        with world.api.token(world.member).socket() as socket:
            for name in names:
                socket.join(prefix + name)


def test_a_topic_does_not_tell_what_exists(world: World) -> None:
    with world.api.token(world.outsider).socket() as socket:
        for key in (unique("no-such-group"), f"{world.member}:{unique('no-such')}"):
            assert socket.refusal(f"conversation:{key}", "phx_join") == "not_a_member"


def test_a_refused_topic_gets_no_messages(world: World) -> None:
    with world.api.token(world.outsider).socket() as socket:
        socket.refusal(f"conversation:{world.group}", "phx_join")
        socket.refusal(f"inbox:{world.member}", "phx_join")
        world.api.say(world.group, world.friend, "private")
        world.api.say(own := world.api.group(world.outsider), world.outsider)
        socket.join(f"conversation:{own}")
        world.api.say(own, world.outsider, "mine")
        frames = []
        while not frames or frames[-1][3] != "message":
            frames.append(socket.receive())
        assert frames[-1][4]["text"] == "mine"
        assert "private" not in str(frames)


def test_a_reading_key_only_reads_over_a_socket(world: World) -> None:
    reader = Client(world.api.server, make_key("tests", ["read"])[1])
    topic = f"conversation:{world.group}"
    for names in ({}, {"participant_id": world.member}):
        with reader.socket(**names) as socket:
            assert socket.join(topic)["last_seq"] == 1
            for event, payload in (
                ("send", {"text": "x", "sender_id": world.member}),
                ("read", {"seq": 1, "participant_id": world.member}),
                ("typing", {"on": True, "participant_id": world.member}),
            ):
                assert socket.refusal(topic, event, payload) == "not_allowed"
            assert len(socket.ok(topic, "history", {"before": 2})["messages"]) == 1


def test_a_reading_key_makes_no_dm_by_joining_it(world: World) -> None:
    reader = Client(world.api.server, make_key("tests", ["read"])[1])
    one, other = unique(), unique()
    for names, code in (({}, "conversation_not_found"), ({"participant_id": one}, "not_a_member")):
        with reader.socket(**names) as socket:
            assert socket.refusal(f"conversation:{one}:{other}", "phx_join") == code
    assert world.api.get(f"/api/conversations/{one}:{other}").status == 404
    assert world.api.get(f"/api/participants/{one}").status == 404


def test_a_writing_key_reads_no_topic(world: World) -> None:
    writer = Client(world.api.server, make_key("tests", ["write"])[1])
    with writer.socket() as socket:
        for topic in (f"conversation:{world.group}", f"inbox:{world.member}"):
            assert socket.refusal(topic, "phx_join") == "not_allowed"


# Speaking as somebody else.


def test_a_token_speaks_as_itself(world: World) -> None:
    token = world.api.token(world.member)
    path, topic = f"/api/conversations/{world.group}", f"conversation:{world.group}"
    as_friend = {"text": "x", "sender_id": world.friend}
    assert token.post(f"{path}/messages", as_friend).verdict == NOT_ALLOWED
    assert token.post(f"{path}/read", {"seq": 1, "participant_id": world.friend}).verdict == NOT_ALLOWED
    assert token.post(f"{path}/messages", {"text": "x", "kind": "system"}).verdict == NOT_ALLOWED
    with token.socket() as socket:
        socket.join(topic)
        assert socket.refusal(topic, "send", as_friend) == "not_allowed"
        for event, payload in (("read", {"seq": 1}), ("typing", {"on": True})):
            assert socket.refusal(topic, event, payload | {"participant_id": world.friend}) == "not_allowed"
        assert socket.refusal(topic, "send", {"text": "x", "kind": "system"}) == "not_allowed"
    assert world.api.entry(world.friend, world.group)["last_message"]["seq"] == 1


def test_a_token_acts_on_its_own_membership_only(world: World) -> None:
    token = world.api.token(world.member)
    friend = f"/api/conversations/{world.group}/participants/{world.friend}"
    mine = f"/api/conversations/{world.group}/participants/{world.member}"
    assert token.delete(friend).verdict == NOT_ALLOWED
    assert token.patch(friend, {"muted": True}).verdict == NOT_ALLOWED
    assert token.patch(mine, {"role": "admin"}).verdict == NOT_ALLOWED
    assert token.patch(mine, {"role": "admin", "muted": True}).verdict == NOT_ALLOWED


def test_a_key_that_acts_as_somebody_has_that_ones_rights(world: World) -> None:
    with world.api.socket(participant_id=world.outsider) as socket:
        assert socket.refusal(f"conversation:{world.group}", "phx_join") == "not_a_member"
        assert socket.refusal(f"conversation:{world.dm}", "phx_join") == "not_a_member"
        assert socket.refusal(f"inbox:{world.member}", "phx_join") == "not_allowed"


# What was allowed ends.


def test_removal_ends_everything_at_once(world: World) -> None:
    token = world.api.token(world.member)
    path, topic = f"/api/conversations/{world.group}", f"conversation:{world.group}"
    with token.socket() as socket, token.events(f"{path}/events") as events:
        socket.join(topic)
        socket.join(f"inbox:{world.member}")
        events.next()
        world.api.ok("DELETE", f"{path}/participants/{world.member}")
        world.api.say(world.group, world.friend, "after the removal")
        frames = []
        while not {"phx_close", "tick"} <= {frame[3] for frame in frames}:
            frames.append(socket.receive())
        assert "after the removal" not in str(frames)
        assert [frame[4] for frame in frames if frame[3] == "phx_close"] == [{"reason": "removed"}]
        assert [frame[4] for frame in frames if frame[3] == "tick"] == [
            {"updates": [], "removed": [world.group]}
        ]
        assert socket.refusal(topic, "send", {"text": "x"}) == "not_joined"
        assert socket.refusal(topic, "phx_join") == "not_a_member"
        while (event := events.next())[0] == "presence_diff":
            pass  # the socket's own joining may be told late
        assert event[1]["error"]["code"] == "not_a_member"
        with pytest.raises(EOFError):
            events.next()
    for suffix in ("", "/messages", "/participants", "/events"):
        assert token.get(path + suffix).verdict == NOT_A_MEMBER
    assert token.post(f"{path}/messages", {"text": "x"}).verdict == NOT_A_MEMBER
    assert token.post(f"{path}/read", {"seq": 1}).verdict == NOT_A_MEMBER
