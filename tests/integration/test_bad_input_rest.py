"""What no client should send over REST: each is answered with a clear code, and the process takes it calmly."""

import json
import socket
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import pytest

from tests.integration.server import HOST, PATIENCE, Client, enquote, unique
from tests.integration.test_access_endpoints import ROWS, Row, routes

pytestmark = pytest.mark.usefixtures("healthy")

INVALID = (400, "invalid_request")
NO_JSON = (400, "invalid_json")
TOO_LARGE = (413, "too_large")

CONVERSATIONS = "/api/conversations"
BIG = 300 * 1_024
"""More bytes than a request may have."""

SURROGATE = b'"\\ud800"'
DEEP = 100_000

with_body = pytest.mark.parametrize("row", [row for row in ROWS if row.body is not None], ids=str)


def path_of(row: Row, key: str = "broadcast", participant: str = "somebody", agent: str = "nobody") -> str:
    path = row.route.replace("<str:key>", key).replace("<str:participant_id>", participant)
    return "/" + path.replace("<str:agent_id>", agent)


def exchange(client: Client, request: bytes) -> tuple[int, Any]:
    """Send bytes as they are; the status of the answer, and its JSON."""
    with socket.create_connection((HOST, client.server.port), PATIENCE) as line:
        line.sendall(request)
        with line.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            length = 0
            while header := answer.readline().strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = answer.read(length)
    return status, json.loads(body) if body.startswith(b"{") else body


def raw(client: Client, target: bytes, *, method: bytes = b"GET", headers: bytes = b"") -> tuple[int, str]:
    """A request whose target is sent as it is: the status and the error's code."""
    request = (
        b"%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%sConnection: close\r\n\r\n"
        % (
            method,
            target,
            str(client.credential).encode(),
            headers,
        )
    )
    status, body = exchange(client, request)
    return status, body["error"]["code"] if isinstance(body, dict) and "error" in body else body


# Bodies.


@with_body
@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"{", NO_JSON),
        (b"nonsense", NO_JSON),
        (b"{}{}", NO_JSON),
        (b"\xff\xfe{\x00}\x00", NO_JSON),
        (b'{"\xff": 1}', NO_JSON),
        (b"{" + SURROGATE + b":1}", NO_JSON),
        (b"NaN", NO_JSON),
        (b"\0", NO_JSON),
        (b" ", NO_JSON),
        (b"[" * DEEP, NO_JSON),
        (b'{"a":' * (DEEP // 2), NO_JSON),
        (b"[]", INVALID),
        (b"null", INVALID),
        (b'"text"', INVALID),
        (b"1e999", INVALID),
        (b'{"nobody_knows_this_key": 1}', INVALID),
        (b'{"nobody_knows_this_key": ' + b"[" * DEEP + b"]" * DEEP + b"}", INVALID),
        (b"{" + b" " * BIG + b"}", TOO_LARGE),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else "",
)
def test_a_body_that_is_not_its_form(api: Client, row: Row, body: bytes, verdict: tuple[int, str]) -> None:
    answer = api.call(row.method, path_of(row), body)
    # What is wrong in two ways is refused for whichever is seen first.
    twice_wrong = len(body) >= DEEP or body == b"{}{}"
    assert answer.verdict in ({INVALID, NO_JSON} if twice_wrong and verdict != TOO_LARGE else {verdict})


@with_body
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json", "\tx"]
)
def test_a_body_that_is_not_declared_as_json(api: Client, row: Row, content_type: str) -> None:
    body = json.dumps(row.body).encode()
    answer = api.call(row.method, path_of(row), body, headers={"Content-Type": content_type})
    assert answer.verdict == (415, "unsupported_media_type")


def test_the_content_type_may_have_parameters(api: Client) -> None:
    body = json.dumps({"id": unique()}).encode()
    header = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert api.call("POST", "/api/participants", body, headers=header).status == 201


def test_a_chunked_body_is_cut_off_at_the_limit(api: Client) -> None:
    head = (
        "POST /api/conversations/broadcast/messages HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {api.credential}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    status, body = exchange(api, head.encode() + b"".join(repeat(chunk, BIG // 0x2000)))
    assert (status, body["error"]["code"]) == TOO_LARGE
    small = b'8\r\n{"id": "\r\n%x\r\n%s\r\n2\r\n"}\r\n0\r\n\r\n'
    name = unique().encode()
    head = head.replace("conversations/broadcast/messages", "participants")
    status, body = exchange(api, head.encode() + small % (len(name), name))
    assert (status, body["id"]) == (201, name.decode())


def test_a_body_that_never_ends_is_no_request(api: Client) -> None:
    request = (
        f"POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.credential}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection((HOST, api.server.port), PATIENCE) as line:
        line.sendall(request.encode())
    assert api.server.is_healthy()


WRONG_VALUES: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"text": 5},
        {"text": None},
        {"text": "a\0b"},
        {"text": ["x"]},
        {"text": "x", "content": []},
        {"text": "x", "content": "x"},
        {"text": "x", "content": {"a": "\0"}},
        {"text": "x", "content": {"\0": 1}},
        {"text": "x", "content": {"a": {"b": [{"\0": 1}]}}},
        {"text": "x", "content": {"n": 2**63}},
        {"text": "x", "content": {"n": -(2**64)}},
        {"text": "x", "content": {"n": 10**400}},
        {"text": "x", "metadata": {"a": "\0"}},
        {"text": "x", "metadata": {"\0": 1}},
        {"text": "x", "metadata": {"n": 2**63}},
        {"text": "x", "kind": ""},
        {"text": "x", "kind": "Text"},
        {"text": "x", "kind": "a" * 65},
        {"text": "x", "kind": "a\n"},
        {"text": "x", "kind": "a\0"},
        {"text": "x", "client_id": ""},
        {"text": "x", "client_id": "a" * 129},
        {"text": "x", "client_id": "a\0"},
        {"text": "x", "client_id": "a\n"},
        {"text": "x", "client_id": 5},
        {"text": "x", "reply_to": 0},
        {"text": "x", "reply_to": -1},
        {"text": "x", "reply_to": 2**63},
        {"text": "x", "reply_to": 1.5},
        {"text": "x", "reply_to": "1"},
        {"text": "x", "reply_to": True},
        {"text": "x", "expected_seq": -1},
        {"text": "x", "expected_seq": 2**64},
        {"text": "x", "sender_id": "a:b"},
        {"text": "x", "sender_id": ""},
        {"text": "x", "sender_id": "a" * 129},
        {"text": "x", "sender_id": "a\0"},
        {"text": "x", "sender_id": "a\n"},
        {"text": "x", "sender_id": "ä"},
        {"text": "x", "sender_id": 5},
        {"text": "x", "seq": 1},
    ],
    "read": [
        {"seq": -1},
        {"seq": 2**63},
        {"seq": 2**64},
        {"seq": 1.5},
        {"seq": "1"},
        {"seq": None},
        {},
        {"seq": 1, "participant_id": "a:b"},
        {"seq": 1, "participant_id": "\0"},
        {"seq": 1, "participant_id": 5},
    ],
    "participants": [
        {},
        {"participants": []},
        {"participants": ["a:b"]},
        {"participants": ["a\n"]},
        {"participants": ["a\0"]},
        {"participants": ["a" * 129]},
        {"participants": [5]},
        {"participants": [{"id": "a", "role": "owner"}]},
        {"participants": [{"id": "a:b"}]},
        {"participants": [{}]},
        {"participants": "a"},
        {"participants": ["a"] * 1_001},
    ],
    "": [
        {"title": 5},
        {"title": "a\0"},
        {"title": "a" * 201},
        {"metadata": []},
        {"metadata": {"\0": 1}},
        {"metadata": {"a": "\0"}},
        {"metadata": {"a": 2**63}},
    ],
}


def wrong_values() -> Iterator[Any]:
    for suffix, bodies in WRONG_VALUES.items():
        for body in bodies:
            yield pytest.param(suffix, body, id=f"{suffix} {str(body)[:60]}")


@pytest.mark.parametrize(("suffix", "body"), list(wrong_values()))
def test_a_value_that_is_not_valid(api: Client, suffix: str, body: dict[str, Any]) -> None:
    sender = unique()
    key = api.group(sender)
    body = {"sender_id": sender, **body} if suffix == "messages" else body
    method = "POST" if suffix else "PATCH"
    answer = api.call(method, f"{CONVERSATIONS}/{key}/{suffix}".rstrip("/"), body)
    assert answer.verdict == INVALID
    assert api.ok("GET", f"{CONVERSATIONS}/{key}")["last_seq"] == 0


@pytest.mark.parametrize(
    "name", ["a:b", "", "a" * 129, "a\n", "\n", "a\0", "a b", "ä", "a/b", "\u2028", 5, None, [], {}]
)
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/api/participants", "id"),
        ("/api/agents", "id"),
        ("/api/tokens", "participant_id"),
        (CONVERSATIONS, "key"),
    ],
)
def test_an_id_that_is_none(api: Client, path: str, form: str, name: Any) -> None:
    if (path, name) == (CONVERSATIONS, None):
        return  # then it gets one
    extra = {"url": "http://127.0.0.1:9/"} if path == "/api/agents" else {}
    assert api.post(path, {form: name, **extra}).verdict == INVALID


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" + b"0" * 400 + b".5"])
def test_a_number_beyond_all_floats(api: Client, number: bytes) -> None:
    key = api.group("somebody")
    body = b'{"text":"x","sender_id":"somebody","content":{"n":%s}}' % number
    assert api.call("POST", f"{CONVERSATIONS}/{key}/messages", body).verdict in (INVALID, NO_JSON)


@pytest.mark.parametrize("field", ["text", "client_id", "kind", "sender_id", "content", "metadata"])
def test_a_lone_surrogate(api: Client, field: str) -> None:
    key = api.group("somebody")
    value = b'{"a":%s}' % SURROGATE if field in ("content", "metadata") else SURROGATE
    body = b'{"text":"x","sender_id":"somebody","%s":%s}' % (field.encode(), value)
    assert api.call("POST", f"{CONVERSATIONS}/{key}/messages", body).verdict in (INVALID, NO_JSON)


def nested(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth - 1):
        value = [value] if kind == "lists" else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("kind", ["lists", "objects"])
@pytest.mark.parametrize("field", ["content", "metadata"])
def test_json_nests_as_deep_as_allowed_and_no_deeper(api: Client, field: str, kind: str) -> None:
    sender = unique()
    key = api.group(sender)
    path = f"{CONVERSATIONS}/{key}/messages"
    assert api.say(key, sender, **{field: nested(32, kind)})[field] == nested(32, kind)
    for depth in (33, 900):
        answer = api.post(path, {"sender_id": sender, "text": "x", field: nested(depth, kind)})
        assert answer.verdict == INVALID
    deepest = b'{"sender_id":"x","text":"x","%s":{"a":%s}}' % (field.encode(), b"[" * DEEP + b"]" * DEEP)
    assert api.call("POST", path, deepest).verdict == NO_JSON


def test_sizes(api: Client) -> None:
    sender = unique()
    key = api.group(sender)
    path = f"{CONVERSATIONS}/{key}/messages"
    full = 32 * 1_024
    assert len(api.say(key, sender, "x" * full)["text"]) == full
    assert len(api.say(key, sender, "ü" * (full // 2))["text"]) == full // 2
    for text in ("x" * (full + 1), "ü" * (full // 2) + "x"):
        assert api.post(path, {"sender_id": sender, "text": text}).verdict == TOO_LARGE
    half = {"a": "x" * full}
    for body in ({"content": {"a": "x" * 2 * full}}, {"content": half, "metadata": half}):
        assert api.post(path, {"sender_id": sender, "text": "x", **body}).verdict == TOO_LARGE
    for method, other in (("POST", "/api/participants"), ("POST", CONVERSATIONS), ("POST", "/api/agents")):
        form = {"id": unique(), "url": "http://127.0.0.1:9/"} if other == "/api/agents" else {}
        form = {"id": unique()} if other == "/api/participants" else form
        answer = api.call(method, other, {**form, "metadata": {"a": "x" * 2 * full}})
        assert answer.verdict == TOO_LARGE


# Paths and queries.


NO_NAMES = [
    "a:b:c", ":", "a:", ":a", "a:a", "a" * 129, "ü", "%00", "a%00b", "%0A", "a%0a", "%20", "a%20b", "%C3%BC", "%FF", "%C3%28",
]  # fmt: skip


@pytest.mark.parametrize("row", [row for row in ROWS if "<" in row.route], ids=str)
def test_a_path_with_no_valid_name(api: Client, row: Row) -> None:
    body = None if row.body is None else json.loads(json.dumps(row.body), object_hook=valid)
    for segment in NO_NAMES:
        name = segment if "%" in segment else enquote(segment)
        path = path_of(row, key=name, participant=name, agent=name)
        # An id of a subscription is a UUID: what is none names nothing.
        expected = (
            (404, "not_found") if row.route.count("<") == 1 and "subscription_id" in row.route else INVALID
        )
        assert api.call(row.method, path, body).verdict == expected, segment


def valid(form: dict[str, Any]) -> dict[str, Any]:
    """A form whose placeholders are names."""

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(one) for one in value]
        return "somebody" if isinstance(value, str) and ("who" in value or value == "<new>") else value

    return {key: name(value) for key, value in form.items()}


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/conversations/",
        "/api//conversations",
        "/api/conversations/a%2Fb",
        "/api/conversations/a%2Fb/messages",
        "/api/conversations/a/messages/",
        "/api/conversations/a/nothing",
        "/api/inbox",
        "/api/inbox/",
        "/api/inbox/a%2Fb",
        "/api/participants/..%2Ftokens",
        "/API/conversations",
        "/api/schema/",
        "/api/docsx",
        "/nothing",
        "/" + "a" * 5_000,
        "/%00",
        "/%FF",
    ],
)
def test_a_path_that_leads_nowhere(api: Client, path: str) -> None:
    for method in ("GET", "POST"):
        assert api.call(method, path, {} if method == "POST" else None).verdict == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_a_method_that_a_resource_does_not_take(api: Client, method: str) -> None:
    by_route: dict[str, set[str]] = {}
    for known, route in routes():
        by_route.setdefault(route, set()).add(known)
    for route, known in by_route.items():
        if method in known:
            continue
        row = Row(method=method, route=route, scope="read", outsider="")
        answer = api.call(method, path_of(row))
        assert answer.verdict == (405, "method_not_allowed"), route
        assert set(answer.headers["allow"].split(", ")) == known, route


def test_the_head_of_an_answer(api: Client) -> None:
    answer = api.call("HEAD", CONVERSATIONS)
    assert (answer.status, answer.body) == (200, b"")
    assert api.call("HEAD", f"{CONVERSATIONS}/{unique()}").status == 404


QUERIES: list[tuple[str, dict[str, object]]] = [
    *(
        (f"{CONVERSATIONS}/broadcast/messages", query)
        for query in (
            {"limit": 0},
            {"limit": 201},
            {"limit": -1},
            {"limit": "abc"},
            {"limit": ""},
            {"limit": "1.5"},
            {"limit": 10**30},
            {"after": -1},
            {"after": 2**63},
            {"after": 2**64},
            {"after": 10**30},
            {"after": "x"},
            {"after": "\0"},
            {"after": "٣x"},
            {"before": -1},
            {"before": 2**63},
            {"wait": -1},
            {"wait": 26},
            {"wait": "nan"},
            {"wait": "inf"},
            {"wait": "1e999"},
            {"nobody_knows_this": 1},
            {"": 1},
            {"\0": 1},
        )
    ),
    (f"{CONVERSATIONS}/broadcast/events", {"after": -1}),
    (f"{CONVERSATIONS}/broadcast/events", {"after": 2**63}),
    (f"{CONVERSATIONS}/broadcast/events", {"limit": 5}),
    ("/api/inbox/somebody/events", {"limit": 5}),
    (CONVERSATIONS, {"cursor": 0}),
    (CONVERSATIONS, {"cursor": 2**63}),
    (CONVERSATIONS, {"cursor": "x"}),
    (CONVERSATIONS, {"limit": 0}),
    (CONVERSATIONS, {"kind": "crowd"}),
    (CONVERSATIONS, {"state": "gone"}),
    (CONVERSATIONS, {"participant_id": "a:b"}),
    (CONVERSATIONS, {"participant_id": "\0"}),
    (CONVERSATIONS, {"participant_id": ""}),
    ("/api/participants", {"kind": "crowd"}),
    ("/api/participants", {"after": "\0"}),
    ("/api/participants", {"after": "a" * 129}),
    ("/api/participants", {"limit": 201}),
    ("/api/agents", {"after": "\0"}),
    ("/api/agents", {"limit": "0x10"}),
]


@pytest.mark.parametrize(("path", "query"), QUERIES, ids=str)
def test_a_query_that_is_not_valid(api: Client, path: str, query: Mapping[str, object]) -> None:
    assert api.call("GET", path, query=query).verdict == INVALID


def test_a_parameter_is_given_once(api: Client) -> None:
    for path, query in (
        (CONVERSATIONS, [("limit", 1), ("limit", 1)]),
        (f"{CONVERSATIONS}/broadcast/messages", [("after", 1), ("after", 2)]),
        (f"{CONVERSATIONS}/broadcast/events", [("after", 1), ("after", 2)]),
        ("/api/participants", [("after", "a"), ("after", "b")]),
    ):
        assert api.call("GET", path, query=query).verdict == INVALID


def test_more_parameters_than_anybody_needs(api: Client) -> None:
    for path in (CONVERSATIONS, f"{CONVERSATIONS}/broadcast/events", "/api/inbox/somebody/events"):
        assert api.call("GET", path, query=[(f"p{n}", n) for n in range(1_100)]).verdict == INVALID


@pytest.mark.parametrize(
    "place", ["x", ":", "epoch:x", f"epoch:{2**64}", "epoch:-5", ":" * 999, "9" * 5_000, "ü:1"]
)
def test_a_last_event_id_that_is_none(api: Client, place: str) -> None:
    one = unique()
    key = api.group(one)
    api.say(key, one)
    headers = {"Last-Event-ID": place}
    with api.events(f"{CONVERSATIONS}/{key}/events", **headers) as events:
        name, ready, _ = events.next()
        assert (name, ready["recovered"], ready["last_seq"]) == ("ready", False, 1)
        api.say(key, one, "live")
        assert events.next()[1]["text"] == "live"


# The request around it.


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (b"/api/conversations/\xff", None),
        (b"/api/conversations/\xc3\xbc", None),
        (b"/api/conversations?limit=\xff", None),
        (b"/api/conversations/%FF", INVALID),
        (b"/api/conversations/%", INVALID),
        (b"/api/conversations/%zz", INVALID),
        (b"/api/conversations?limit=%FF", INVALID),
        (b"/api/conversations?%FF=%FF", INVALID),
        (b"/api/conversations?cursor=%00", INVALID),
        (b"/api/conversations?participant_id=%FF", INVALID),
        (b"/api/conversations;limit=1", (404, "not_found")),
        (b"/api/../api/conversations/nothing-here", (404, "not_found")),
        (b"*", None),
        (b"http://elsewhere.example/api/nothing", (404, "not_found")),
    ],
)
def test_a_target_that_no_client_would_send(
    api: Client, target: bytes, verdict: tuple[int, str] | None
) -> None:
    found = raw(api, target)
    if verdict is None:  # the parser of HTTP may refuse it before us
        assert 400 <= found[0] < 500
    else:
        assert found == verdict


@pytest.mark.parametrize("host", ["elsewhere.example", "a b", "", "[::1", "\xff"])
def test_a_host_that_is_not_ours(api: Client, host: str) -> None:
    answer = api.call("GET", CONVERSATIONS, headers={"Host": host})
    assert answer.verdict == INVALID


def test_headers_that_no_client_would_send(api: Client) -> None:
    for header in (
        b"X: " + b"a" * 20_000,
        b"\xff: x",
        b"no colon",
        b"Content-Length: -1",
        b"Content-Length: x",
    ):
        assert raw(api, CONVERSATIONS.encode(), headers=header + b"\r\n")[0] in (200, 400, 431)


@pytest.mark.parametrize("key", ["", '""', "a b", "a" * 129, "ü", "a\tb"])
def test_an_idempotency_key_that_is_none(api: Client, key: str) -> None:
    one = unique()
    path = f"{CONVERSATIONS}/{api.group(one)}/messages"
    answer = api.call("POST", path, {"sender_id": one, "text": "x"}, headers={"Idempotency-Key": key})
    if key == "":
        assert (answer.status, answer.json["client_id"]) == (201, None)
    else:
        assert answer.verdict == INVALID


@pytest.mark.parametrize("request_id", ["a b", "x" * 129, "ü", "'", "\t"])
def test_a_request_id_that_is_none_is_replaced(api: Client, request_id: str) -> None:
    answer = api.call("GET", CONVERSATIONS, headers={"X-Request-ID": request_id})
    assert answer.status == 200
    assert answer.headers["x-request-id"] != request_id
    assert api.call("GET", CONVERSATIONS, headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"


def test_the_documentation_pages_fail_in_the_same_shape(nobody: Client) -> None:
    for path in ("/api/schema", "/api/docs"):
        answer = nobody.post(path, {})
        assert answer.verdict == (405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]
    assert nobody.get("/api/schema", format="pdf").verdict == (404, "not_found")
    refused = nobody.call("GET", "/api/schema", headers={"Accept": "application/pdf"})
    assert refused.verdict == (406, "not_acceptable")
