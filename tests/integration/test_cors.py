"""What web pages from other origins may do: call the API, and follow event streams by `fetch` with headers of their own."""

from collections.abc import Iterator

import pytest

from tests.integration.server import Client, Server, unique

APP = "https://app.example.com"


@pytest.fixture(scope="module")
def guarded(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process that allows one origin."""
    with Server(tmp_path_factory.mktemp("cors") / "log", FLEETLM_ALLOWED_ORIGINS=APP) as running:
        yield running
    assert not running.complaints()


@pytest.fixture(scope="module")
def open_server(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process in open mode, as `make up` starts it."""
    log = tmp_path_factory.mktemp("open") / "log"
    with Server(log, FLEETLM_AUTH="open", FLEETLM_ENV="development") as running:
        yield running
    assert not running.complaints()


def may_call(server: Server, origin: str, method: str, *headers: str) -> bool:
    """Whether a browser would send this, by the answer to what it asks before."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(headers),
    }
    answer = Client(server).call("OPTIONS", "/api/conversations/a:b/messages", headers=asked)
    allowed = answer.headers.get("access-control-allow-headers", "").split(", ")
    return (
        answer.status == 200
        and answer.headers.get("access-control-allow-origin") == origin
        and method in answer.headers["access-control-allow-methods"].split(", ")
        and set(headers) <= set(allowed)
    )


def test_a_page_sends_the_headers_of_a_client(guarded: Server) -> None:
    assert may_call(guarded, APP, "GET", "authorization", "last-event-id")
    assert may_call(guarded, APP, "POST", "authorization", "content-type", "idempotency-key")
    assert may_call(guarded, APP, "PATCH", "authorization", "content-type")
    assert may_call(guarded, APP, "DELETE", "authorization")
    assert not may_call(guarded, APP, "GET", "x-something-else")
    for other in (
        "https://evil.example.com",
        "http://app.example.com",
        f"{APP}:444",
        "http://localhost:5173",
    ):
        assert not may_call(guarded, other, "GET")


def test_a_page_follows_an_event_stream_and_goes_on(guarded: Server, admin_key: str) -> None:
    api = Client(guarded, admin_key)
    one = unique("one")
    key = api.group(one)
    first, second = api.say(key, one, "1"), api.say(key, one, "2")
    token, path = api.token(one), f"/api/conversations/{key}/events"
    with token.open("GET", path, headers={"Origin": APP}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert "origin" in response.headers["Vary"]
    epoch = api.ok("GET", f"/api/conversations/{key}")["epoch"]
    place = f"{epoch}:{first['seq']}"
    with token.events(path, **{"Origin": APP, "Last-Event-ID": place}) as events:
        assert events.next()[1]["recovered"] is True
        assert events.next()[1]["id"] == second["id"]


def test_a_page_reads_why_it_was_refused_and_when_to_come_back(guarded: Server) -> None:
    answer = Client(guarded).call("GET", "/api/inbox/someone", headers={"Origin": APP})
    assert answer.verdict == (401, "not_authenticated")
    assert answer.headers["access-control-allow-origin"] == APP
    assert "retry-after" in answer.headers["access-control-expose-headers"].split(", ")


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:3000", "https://[::1]"])
def test_in_open_mode_a_page_of_this_machine_may_do_what_its_socket_may(
    open_server: Server, origin: str
) -> None:
    assert may_call(open_server, origin, "POST", "content-type", "idempotency-key")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com", "http://localhost.evil.com", "http://127.0.0.1:80.evil.com", "null"],
)
def test_in_open_mode_a_page_from_elsewhere_may_not(open_server: Server, origin: str) -> None:
    assert not may_call(open_server, origin, "GET")
