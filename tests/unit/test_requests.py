"""Request ids, route templates and what the outermost application adds to a request."""

import json
import logging
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from observability.asgi import ObservedApp
from observability.logs import JsonFormatter, request_id
from observability.requests import request_id_of
from observability.routes import RouteTable

TABLE = RouteTable(
    [
        "/",
        "/admin/{rest}",
        "/api/conversations",
        "/api/conversations/{key}",
        "/api/conversations/{key}/messages",
        "/api/conversations/{key}/participants/{participant_id}",
    ]
)


@pytest.mark.parametrize("good", [b"a", b"Az09._-", b"x" * 128])
def test_a_good_request_id_is_kept(good: bytes) -> None:
    assert request_id_of([(b"host", b"here"), (b"x-request-id", good)]) == good


@pytest.mark.parametrize("bad", [b"", b"x" * 129, b"a b", b"a\nb", b"a\n", "é".encode(), b"<script>"])
def test_a_bad_one_is_replaced_by_a_uuid7(bad: bytes) -> None:
    assert UUID(request_id_of([(b"x-request-id", bad)]).decode()).version == 7


def test_without_one_every_request_gets_its_own() -> None:
    assert len({request_id_of([]) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/admin/", "/admin/{rest}"),
        ("/admin/auth/user/1/change/", "/admin/{rest}"),
        ("/api/conversations", "/api/conversations"),
        ("/api/conversations/alice:bob", "/api/conversations/{key}"),
        ("/api/conversations/a b\n/messages", "/api/conversations/{key}/messages"),
        (
            "/api/conversations/x/participants/alice",
            "/api/conversations/{key}/participants/{participant_id}",
        ),
        ("/api/conversations/x/y/z/1", "unmatched"),
        ("/api/", "unmatched"),
        ("/api", "unmatched"),
        ("/wp-login.php", "unmatched"),
        ("//", "unmatched"),
        ("", "unmatched"),
    ],
)
def test_paths_become_few_templates(path: str, template: str) -> None:
    assert TABLE.template_of(path) == template


class Exchange:
    """One request through an `ObservedApp`, and what came back."""

    def __init__(self, answer: int | Exception | None, path: str, **scope: Any) -> None:
        self.answer = answer
        self.scope = {"type": "http", "method": "GET", "path": path, "headers": [], **scope}
        self.events: list[dict[str, Any]] = []
        self.seen_inside: str | None = None

    async def inner(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen_inside = request_id.get()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            await send({"type": "http.response.start", "status": self.answer, "headers": ((b"a", b"b"),)})
            await send({"type": "http.response.body", "body": b"x"})

    async def run(self) -> "Exchange":
        async def send(event: Any) -> None:
            self.events.append(event)

        await ObservedApp(self.inner, TABLE)(self.scope, None, send)  # type: ignore[arg-type]
        return self

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.events[0]["headers"])


def counted(route: str, status: int) -> float:
    labels = {"method": "GET", "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("fleetlm_http_request_seconds_count", labels) or 0.0


async def test_the_id_goes_in_and_comes_back() -> None:
    exchange = await Exchange(200, "/", headers=[(b"x-request-id", b"mine")]).run()
    assert exchange.headers == {b"a": b"b", b"x-request-id": b"mine"}
    assert exchange.seen_inside == "mine"
    assert request_id.get() is None


async def test_a_socket_gets_one_too() -> None:
    events: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": request_id.get()})

    async def send(event: Any) -> None:
        events.append(event)

    await ObservedApp(inner, TABLE)({"type": "websocket", "path": "/", "headers": []}, None, send)  # type: ignore[arg-type]
    ((name, value),) = events[0]["headers"]
    assert (name, value.decode()) == (b"x-request-id", events[1]["text"])


async def test_requests_are_counted_by_route_and_status() -> None:
    before = counted("/api/conversations/{key}", 404), counted("/api/conversations/{key}", 499)
    for key in ("a", "b", "c"):
        await Exchange(404, f"/api/conversations/{key}").run()
    await Exchange(None, "/api/conversations/left").run()
    assert counted("/api/conversations/{key}", 404) == before[0] + 3
    assert counted("/api/conversations/{key}", 499) == before[1] + 1


async def test_a_fault_is_a_500_and_goes_on_to_the_server() -> None:
    before = counted("/", 500)
    with pytest.raises(RuntimeError, match="ours"):
        await Exchange(RuntimeError("ours"), "/").run()
    assert counted("/", 500) == before + 1
    assert request_id.get() is None


async def test_one_line_a_request_without_the_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "observability.access")
    await Exchange(200, "/a\nb", raw_path=b"/a%0Ab?token=secret", query_string=b"token=secret").run()
    await Exchange(200, "/health/live").run()
    (record,) = caplog.records
    line = json.loads(JsonFormatter().format(record))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/a%0Ab", 200)
    assert line["duration_ms"] >= 0
    assert "secret" not in json.dumps(line)


async def test_what_goes_well_on_the_hot_routes_is_logged_for_those_who_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "observability.access")
    await Exchange(200, "/health/live").run()
    await Exchange(200, "/metrics").run()
    await Exchange(201, "/api/conversations/a:b/messages").run()
    await Exchange(409, "/api/conversations/a:b/messages").run()
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "DEBUG", "INFO"]


def test_a_log_line_holds_whatever_is_logged() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        fault = (type(error), error, error.__traceback__)
    record = logging.LogRecord("one", logging.ERROR, "file", 1, "said %s", ("\ud800\n",), fault)
    record.extra_field = object()
    (text,) = JsonFormatter().format(record).splitlines()
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "one", "said \ud800\n")
    assert "ValueError: why" in line["exception"]
    assert line["extra_field"].startswith("<object")
