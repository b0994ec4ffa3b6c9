"""What no client should send over a socket: each is answered with a clear code, and the socket goes on if it can."""

import contextlib
import json
import random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.server import PATIENCE, Client, Refused, Socket, _socket, unique

pytestmark = pytest.mark.usefixtures("healthy")

TOPICS_PER_SOCKET = 200
DEEP = 100_000


class Place:
    """A group with one message, and a socket of its member that has joined it."""

    def __init__(self, api: Client) -> None:
        self.api = api
        self.member = unique("member")
        self.key = api.group(self.member)
        self.topic = f"conversation:{self.key}"
        api.say(self.key, self.member)
        self.client = api.token(self.member)


@pytest.fixture
def place(api: Client) -> Place:
    return Place(api)


def code_of(frame: list[Any]) -> str:
    payload = frame[4].get("response", frame[4])
    error = payload["error"]
    assert set(error) == {"code", "message", "details"}
    return str(error["code"])


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "nonsense",
        "null",
        "5",
        "true",
        '"text"',
        "{}",
        '{"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}',
        "[]",
        '["1", "1", "phoenix", "heartbeat"]',
        '["1", "1", "phoenix", "heartbeat", {}, {}]',
        '["1", "1", null, "heartbeat", {}]',
        '["1", "1", "phoenix", null, {}]',
        '["1", "1", 5, "heartbeat", {}]',
        '["1", "1", "phoenix", ["heartbeat"], {}]',
        '["1", "1", "phoenix", "heartbeat", []]',
        '["1", "1", "phoenix", "heartbeat", "x"]',
        '["1", "1", "phoenix", "heartbeat", 5]',
        '[[], "1", "phoenix", "heartbeat", {}]',
        '["1", {}, "phoenix", "heartbeat", {}]',
        '["1", 1.5, "phoenix", "heartbeat", {}]',
        '["1", true, "phoenix", "heartbeat", {}]',
        f'["1", "{"1" * 65}", "phoenix", "heartbeat", {{}}]',
        f'["1", 1{"0" * 5_000}, "phoenix", "heartbeat", {{}}]',
        '["1", "1", "phoenix", "heartbeat", {}',
        '["1", "1", "phoenix", "heartbeat", {}]]',
        '["1", "1", "phoenix", "heartbeat", {"a": "\\ud800"}]',
        '["1", "1", "\\udfff", "heartbeat", {}]',
        '["1", "1", "phoenix", "heartbeat", {"a": 1e999}]',
        '["1", "1", "phoenix", "heartbeat", {"a": NaN}]',
        '["1", "1", "phoenix", "heartbeat", {"\\ud800": 1}]',
        "[" * DEEP,
        '["1", "1", "phoenix", "heartbeat", {"a":' + "[" * DEEP + "]" * DEEP + "}]",
        b"",
        b'["1", "1", "phoenix", "heartbeat", {}]',
        b"\0\1\2\xff",
        random.Random(1).randbytes(1_000),
    ],
    ids=lambda frame: repr(frame[:70]),
)
def test_what_is_no_frame(place: Place, frame: str | bytes) -> None:
    with place.client.socket() as socket:
        socket.line.send(frame)
        answer = socket.receive()
        assert answer[:4] == [None, None, "phoenix", "error"]
        assert code_of(answer) == "invalid_frame"
        socket.heartbeat()


def test_references_come_back_as_they_can(place: Place) -> None:
    with place.client.socket() as socket:
        for sent, expected in (
            (7, "7"),
            (-1, "-1"),
            (2**64, str(2**64)),
            ("x" * 64, "x" * 64),
            ("", ""),
            (None, None),
        ):
            socket.line.send(json.dumps([sent, sent, "phoenix", "heartbeat", {}]))
            reply = {"status": "ok", "response": {}}
            assert socket.receive() == [expected, expected, "phoenix", "phx_reply", reply]


def test_the_payload_may_be_missing(place: Place) -> None:
    with place.client.socket() as socket:
        socket.line.send('[null, "1", "phoenix", "heartbeat", null]')
        assert socket.receive()[4]["status"] == "ok"


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("", "unknown_topic"),
        ("nothing", "unknown_topic"),
        ("phoenix", "unknown_topic"),
        ("Conversation:x", "unknown_topic"),
        ("conversation", "unknown_topic"),
        ("\0", "unknown_topic"),
        ("x" * 100_000, "unknown_topic"),
        ("conversation:", "invalid_request"),
        ("conversation:\0", "invalid_request"),
        ("conversation:a b", "invalid_request"),
        ("conversation:a\n", "invalid_request"),
        ("conversation:a:b:c", "invalid_request"),
        ("conversation:a:a", "invalid_request"),
        ("conversation:a:", "invalid_request"),
        ("conversation:ä", "invalid_request"),
        ("conversation:" + "a" * 129, "invalid_request"),
        ("conversation:" + "a" * 100_000, "invalid_request"),
        ("inbox:", "invalid_request"),
        ("inbox:a:b", "invalid_request"),
        ("inbox:\0", "invalid_request"),
        ("inbox:" + "a" * 129, "invalid_request"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_topic_that_is_none(api: Client, topic: str, code: str) -> None:
    with api.socket() as socket:
        assert socket.refusal(topic, "phx_join") == code
        assert socket.refusal(topic, "send", {"text": "x"}) in ("not_joined", "unknown_topic")
        socket.heartbeat()


@pytest.mark.parametrize(
    "payload",
    [
        {"after": -1},
        {"after": 2**63},
        {"after": 2**64},
        {"after": "1"},
        {"after": 1.5},
        {"after": True},
        {"after": []},
        {"epoch": 5},
        {"limit": 0},
        {"limit": 201},
        {"limit": -1},
        {"limit": "50"},
        {"limit": None},
    ],
    ids=str,
)
def test_a_join_that_is_not_valid(place: Place, payload: dict[str, Any]) -> None:
    with place.client.socket() as socket:
        assert socket.refusal(place.topic, "phx_join", payload) == "invalid_request"
        assert socket.refusal(place.topic, "send", {"text": "x"}) == "not_joined"
        assert socket.join(place.topic, somebody="else's")["last_seq"] == 1


def test_a_join_from_a_place_that_never_was(place: Place) -> None:
    with place.client.socket() as socket:
        for payload in (
            {"after": 2**63 - 1},
            {"after": 1, "epoch": "x" * 1_000},
            {"after": 0, "epoch": "\0"},
        ):
            joined = socket.join(place.topic, **payload)
            assert (joined["recovered"], [m["seq"] for m in joined["messages"]]) == (False, [1])


WRONG_PAYLOADS: list[tuple[str, dict[str, Any], str]] = [
    ("send", {}, "invalid_request"),
    ("send", {"text": 5}, "invalid_request"),
    ("send", {"text": None}, "invalid_request"),
    ("send", {"text": "a\0b"}, "invalid_request"),
    ("send", {"text": ""}, "invalid_request"),
    ("send", {"text": "x", "nobody_knows_this": 1}, "invalid_request"),
    ("send", {"text": "x", "content": []}, "invalid_request"),
    ("send", {"text": "x", "content": {"\0": 1}}, "invalid_request"),
    ("send", {"text": "x", "content": {"a": "\0"}}, "invalid_request"),
    ("send", {"text": "x", "content": {"a": 2**63}}, "invalid_request"),
    ("send", {"text": "x", "metadata": {"a": 10**400}}, "invalid_request"),
    ("send", {"text": "x", "content": {"a": json.loads("[" * 200 + "]" * 200)}}, "invalid_request"),
    ("send", {"text": "x", "kind": "No Word"}, "invalid_request"),
    ("send", {"text": "x", "client_id": "a b"}, "invalid_request"),
    ("send", {"text": "x", "reply_to": 2}, "invalid_request"),
    ("send", {"text": "x", "reply_to": 0}, "invalid_request"),
    ("send", {"text": "x", "reply_to": 2**63}, "invalid_request"),
    ("send", {"text": "x", "expected_seq": -1}, "invalid_request"),
    ("send", {"text": "x", "expected_seq": 7}, "seq_conflict"),
    ("send", {"text": "x", "kind": "redaction"}, "invalid_request"),
    ("send", {"text": "x", "kind": "redaction", "reply_to": 9}, "invalid_request"),
    ("send", {"text": "x" * 32_769}, "too_large"),
    ("send", {"text": "x", "content": {"a": "x" * 66_000}}, "too_large"),
    ("read", {}, "invalid_request"),
    ("read", {"seq": "1"}, "invalid_request"),
    ("read", {"seq": -1}, "invalid_request"),
    ("read", {"seq": 2**63}, "invalid_request"),
    ("read", {"seq": 1, "more": 1}, "invalid_request"),
    ("read", {"seq": 1, "participant_id": 5}, "invalid_request"),
    ("typing", {}, "invalid_request"),
    ("typing", {"on": 1}, "invalid_request"),
    ("typing", {"on": "yes"}, "invalid_request"),
    ("typing", {"on": None}, "invalid_request"),
    ("history", {}, "invalid_request"),
    ("history", {"before": 0}, "invalid_request"),
    ("history", {"before": 2**63}, "invalid_request"),
    ("history", {"before": 5, "limit": 0}, "invalid_request"),
    ("history", {"before": 5, "limit": 201}, "invalid_request"),
    ("cancel", {}, "invalid_request"),
    ("cancel", {"run_id": 5}, "invalid_request"),
    ("cancel", {"run_id": "\0"}, "run_not_found"),
    ("", {}, "unknown_event"),
    ("Send", {"text": "x"}, "unknown_event"),
    ("message", {"text": "x"}, "unknown_event"),
    ("phx_reply", {}, "unknown_event"),
    ("phx_close", {}, "unknown_event"),
    ("presence_state", {}, "unknown_event"),
    ("x" * 100_000, {}, "unknown_event"),
    ("\0", {}, "unknown_event"),
]


def test_an_event_that_is_not_valid(place: Place) -> None:
    with place.client.socket() as socket:
        socket.join(place.topic)
        for event, payload, code in WRONG_PAYLOADS:
            assert socket.refusal(place.topic, event, payload) == code, (event[:40], str(payload)[:80])
        assert socket.ok(place.topic, "send", {"text": "still here"})["seq"] == 2


def test_an_inbox_takes_no_events(place: Place) -> None:
    topic = f"inbox:{place.member}"
    with place.client.socket() as socket:
        socket.join(topic)
        for event in ("send", "read", "history", "tick", ""):
            assert socket.refusal(topic, event, {"text": "x", "seq": 1}) == "unknown_event"


def test_deep_json_in_a_send(place: Place) -> None:
    with place.client.socket() as socket:
        socket.join(place.topic)
        for depth in (33, 500):
            content = '{"a":' + "[" * depth + "]" * depth + "}"
            socket.line.send(f'[null, "d", "{place.topic}", "send", {{"text": "x", "content": {content}}}]')
            while (frame := socket.receive())[1] != "d":
                pass
            assert code_of(frame) == "invalid_request"


def test_an_event_before_the_join_or_after_the_leave(place: Place) -> None:
    with place.client.socket() as socket:
        for event in ("send", "read", "typing", "history", "cancel", "nothing"):
            assert socket.refusal(place.topic, event, {"text": "x"}) == "not_joined"
        assert socket.ask(place.topic, "phx_leave") == {"status": "ok", "response": {}}
        socket.join(place.topic)
        socket.ok(place.topic, "phx_leave")
        assert socket.refusal(place.topic, "send", {"text": "x"}) == "not_joined"
        socket.join(place.topic)
        assert socket.ok(place.topic, "send", {"text": "x"})["seq"] == 2


def test_a_second_join_replaces_the_first(place: Place) -> None:
    with place.client.socket() as socket:
        first = socket.push(place.topic, "phx_join")
        socket.wait_for("presence_state")
        second = socket.push(place.topic, "phx_join")
        frames = []
        while not frames or frames[-1][1] != second:
            frames.append(socket.receive())
        assert [frame[:4] for frame in frames if frame[3] == "phx_close"] == [
            [first, None, place.topic, "phx_close"]
        ]
        old = socket.ask(place.topic, "send", {"text": "x"}, join_ref=first)
        assert old["response"]["error"]["code"] == "not_joined"
        socket.push(place.topic, "send", {"text": "once"}, join_ref=second)
        socket.push(place.topic, "send", {"text": "last"})
        messages: list[Any] = []
        while not messages or messages[-1][4]["text"] != "last":
            frame = socket.receive()
            messages += [frame] if frame[3] == "message" else []
        assert [(frame[0], frame[4]["text"]) for frame in messages] == [(second, "once"), (second, "last")]


def test_a_socket_has_so_many_topics(api: Client) -> None:
    with api.socket() as socket:
        names = [f"inbox:{unique()}" for _ in range(1_000)]
        refs = [socket.push(name, "phx_join") for name in names]
        replies: dict[str, Any] = {}
        while len(replies) < len(refs):
            frame = socket.receive()
            if frame[3] == "phx_reply":
                replies[frame[1]] = frame
        accepted = [ref for ref in refs if replies[ref][4]["status"] == "ok"]
        assert accepted == refs[:TOPICS_PER_SOCKET]
        assert {code_of(replies[ref]) for ref in refs[TOPICS_PER_SOCKET:]} == {"too_many_topics"}
        assert socket.join(names[0]) == {"conversations": []}  # again: it takes its own place
        socket.ok(names[1], "phx_leave")
        assert socket.join(names[-1]) == {"conversations": []}
        assert socket.refusal(names[-2], "phx_join") == "too_many_topics"


def closing_code(socket: Socket, message: str | bytes) -> int:
    """Send what ends the connection; the code that it is closed with."""
    socket.line.send(message)
    return closed_with(socket)


def closed_with(socket: Socket) -> int:
    """The code that the server closes a connection with."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.line.recv(PATIENCE)
    code = socket.line.close_code
    assert code is not None
    return code


def test_a_frame_of_300_kilobytes(place: Place) -> None:
    for frame in ("x" * 300 * 1_024, b"x" * 300 * 1_024):
        with place.client.socket() as socket:
            assert closing_code(socket, frame) == 1009
    with place.client.socket() as socket:
        socket.line.send("x" * 250 * 1_024)
        assert code_of(socket.receive()) == "invalid_frame"


def test_a_frame_that_is_not_utf_8(place: Place) -> None:
    with place.client.socket() as socket:
        with socket.line.protocol_mutex:
            socket.line.protocol.send_text(b"\xff\xfe")
            socket.line.socket.sendall(b"".join(socket.line.protocol.data_to_send()))
        assert closed_with(socket) == 1007
    # uvicorn calls it an error of its own.
    assert all("Invalid UTF-8 sequence received" in line for line in place.api.server.complaints())


@pytest.mark.parametrize("vsn", ["3.0.0", "2", "2.0.0.0", "\0", "x" * 1_000, "2.0.0 "])
def test_a_version_that_is_none(api: Client, vsn: str) -> None:
    with pytest.raises(Refused) as refused, api.socket(vsn=vsn):
        pass
    assert refused.value.answer.verdict == (400, "invalid_request")


def test_the_first_version_of_the_protocol(place: Place) -> None:
    for query in ("", "vsn=1.0.0&", "vsn=&"):
        target = f"socket/websocket?{query}token={place.client.credential}"
        with _socket(place.api.server, target) as socket:
            for wrong in ("[]", '[null, "1", "phoenix", "heartbeat", {}]', '{"topic": 5}', "{}"):
                socket.line.send(wrong)
                answer = socket.receive()
                assert (answer["topic"], answer["event"]) == ("phoenix", "error")
                assert answer["payload"]["error"]["code"] == "invalid_frame"
            frame = {"topic": place.topic, "event": "phx_join", "payload": {}, "ref": 1, "join_ref": 1}
            socket.line.send(json.dumps(frame))
            reply = socket.receive()
            assert (reply["ref"], reply["join_ref"], reply["event"]) == ("1", "1", "phx_reply")
            assert reply["payload"]["response"]["last_seq"] == 1


@pytest.mark.parametrize(
    "target",
    ["", "/", "socket", "socket/websocket/", "socket/websocket%0A", "%0A", "%00", "nothing", "api/tokens"],
)
def test_a_socket_that_is_not_there(api: Client, target: str) -> None:
    with pytest.raises(Refused) as refused, _socket(api.server, target):
        pass
    assert 400 <= refused.value.answer.status < 500


@pytest.mark.parametrize(
    "query", ["token=%FF", "token=%00", "vsn=2.0.0&token=", "vsn=2.0.0&vsn=%FF", "&" * 2_000, "%"]
)
def test_a_query_that_is_not_valid(api: Client, query: str) -> None:
    with pytest.raises(Refused) as refused, _socket(api.server, f"socket/websocket?{query}"):
        pass
    assert refused.value.answer.status in (400, 401)
    assert refused.value.answer.code in ("invalid_request", "not_authenticated")


def test_a_plain_request_is_no_socket(api: Client) -> None:
    assert api.get("/socket/websocket").verdict == (404, "not_found")


def test_sockets_that_vanish_are_forgotten(place: Place) -> None:
    def open_sockets() -> float:
        lines = Client(place.api.server).get("/metrics").body.decode().splitlines()
        [line] = [one for one in lines if one.startswith("fleetlm_sockets_open ")]
        return float(line.split()[1])

    before = open_sockets()
    for _ in range(5):
        with place.client.socket() as socket:
            socket.join(place.topic)
            socket.push(place.topic, "send", {"text": "x"})
            socket.line.socket.close()
    with place.client.socket() as socket:
        socket.join(place.topic)
        while open_sockets() > before + 1:
            socket.heartbeat()
