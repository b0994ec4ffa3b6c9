"""The Phoenix Channels protocol: frames as phoenix.js writes and reads them, and frames as nobody should."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.errors import InvalidRequest
from fleetlm.sockets import phoenix
from fleetlm.sockets.phoenix import VERSIONS, Frame, InvalidFrame, Version, decode, encode, reply, version_of

NAMES = ("join_ref", "ref", "topic", "event", "payload")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
REFS = st.none() | st.text(max_size=64) | st.integers(-(10**9), 10**9)
PAYLOADS = st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.none(), max_size=3)


def written(version: Version, *parts: Any) -> str:
    """A frame as a client writes it."""
    return json.dumps(parts if version == "2.0.0" else dict(zip(NAMES, parts, strict=True)))


def read(version: Version, data: bytes) -> tuple[Any, ...]:
    """A frame as a client reads it."""
    raw = orjson.loads(data)
    return tuple(raw) if version == "2.0.0" else tuple(raw[name] for name in NAMES)


@pytest.mark.parametrize(
    ("vsn", "version"), [("2.0.0", "2.0.0"), ("1.0.0", "1.0.0"), (None, "1.0.0"), ("", "1.0.0")]
)
def test_a_socket_says_which_serializer_it_speaks(vsn: str | None, version: str) -> None:
    assert version_of(vsn) == version


@pytest.mark.parametrize("vsn", ["3.0.0", "2", "2.0.0 ", "\0"])
def test_an_unknown_serializer_is_refused(vsn: str) -> None:
    with pytest.raises(InvalidRequest):
        version_of(vsn)


def test_the_frames_of_the_protocol_as_they_are_documented() -> None:
    text = '["0","1","miami:weather","phx_join",{"some":"param"}]'
    assert decode(text, "2.0.0") == Frame("0", "1", "miami:weather", "phx_join", {"some": "param"})
    text = '{"topic":"miami:weather","event":"phx_join","payload":{"some":"param"},"ref":"1","join_ref":"0"}'
    assert decode(text, "1.0.0") == Frame("0", "1", "miami:weather", "phx_join", {"some": "param"})
    heartbeat = Frame(None, "2", "phoenix", "heartbeat", {})
    assert decode('[null,"2","phoenix","heartbeat",{}]', "2.0.0") == heartbeat
    assert decode('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"2"}', "1.0.0") == heartbeat
    assert reply("2.0.0", heartbeat, "ok", b"{}") == (
        b'[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]'
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_clients_leave_out(version: Version) -> None:
    assert decode(written(version, None, 7, "t", "e", None), version) == Frame(None, "7", "t", "e", {})
    assert decode('{"topic":"t","event":"e"}', "1.0.0") == Frame(None, None, "t", "e", {})


@pytest.mark.parametrize("version", VERSIONS)
@given(join_ref=REFS, ref=REFS, topic=st.text(), event=st.text(), payload=PAYLOADS)
def test_a_frame_is_read_as_it_was_written(
    version: Version, join_ref: Any, ref: Any, topic: str, event: str, payload: dict[str, Any]
) -> None:
    frame = decode(written(version, join_ref, ref, topic, event, payload), version)
    refs = [one if one is None else str(one) for one in (join_ref, ref)]
    assert frame == Frame(*refs, topic, event, payload)
    answer = read(version, reply(version, frame, "error", b'{"a":1}'))
    assert answer == (*refs, topic, "phx_reply", {"status": "error", "response": {"a": 1}})
    push = encode(version, frame.join_ref, None, topic, event, orjson.dumps(payload))
    assert read(version, push) == (refs[0], None, topic, event, payload)


def answered(text: str, version: Version) -> None:
    """Whatever comes is refused as `InvalidFrame`, or understood well enough to be answered."""
    try:
        frame = decode(text, version)
    except InvalidFrame:
        return
    assert isinstance(frame.payload, dict)
    assert read(version, reply(version, frame, "ok", b"{}"))[2] == frame.topic


@pytest.mark.parametrize("version", VERSIONS)
@given(text=st.text())
def test_any_text_is_a_frame_or_refused(version: Version, text: str) -> None:
    answered(text, version)


@pytest.mark.parametrize("version", VERSIONS)
@given(value=JSON)
def test_any_json_is_a_frame_or_refused(version: Version, value: Any) -> None:
    answered(json.dumps(value), version)


@pytest.mark.parametrize("version", VERSIONS)
@given(parts=st.tuples(JSON, JSON, st.text() | JSON, st.text() | JSON, PAYLOADS | JSON), extra=st.booleans())
def test_anything_in_the_place_of_anything_is_a_frame_or_refused(
    version: Version, parts: tuple[Any, ...], extra: bool
) -> None:
    answered(json.dumps([*parts, 1] if extra else list(parts)), version)
    answered(json.dumps(dict(zip(NAMES, parts, strict=True))), version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[1,2,3,4]",
        '["1","1","t","e",{},{}]',
        '["1","1","t","e",[]]',
        '["1","1","t","e","{}"]',
        '["1","1",null,"e",{}]',
        '["1","1","t",1,{}]',
        '[[],"1","t","e",{}]',
        '["1",{},"t","e",{}]',
        '["1",true,"t","e",{}]',
        '["1",1.5,"t","e",{}]',
        f'["{"1" * 65}","1","t","e",{{}}]',
        '["1","1","\\ud800","e",{}]',
        '["1","1","t","e",{"a":"\\udfff"}]',
        '["1","1","\ud800","e",{}]',
        '["1","1","t","e",{}] trailing',
        '["1","1","t","e",{"a":NaN}]',
        '["1","1","t","e",{"a":1e999}]',
        "[" * 100_000,
        '["1","1","t","e",' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "]",
        '{"topic":"t","event":null}',
        '{"topic":[],"event":"e"}',
        '{"topic":"t","event":"e","payload":3}',
        '{"topic":"t","event":"e","ref":[]}',
    ],
)
def test_hostile_frames_are_refused(version: Version, text: str) -> None:
    with pytest.raises(InvalidFrame) as caught:
        decode(text, version)
    assert caught.value.as_dict()["error"]["code"] == "invalid_frame"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("digits", [65, 4_000, 5_000, 100_000])
def test_a_reference_of_many_digits_is_answered_or_refused(version: Version, digits: int) -> None:
    number = "9" * digits
    answered(f'["1",{number},"t","e",{{}}]', version)
    answered(f'{{"topic":"t","event":"e","ref":{number}}}', version)
    answered(f'["1","1","t","e",{{"a":{number}}}]', version)


def test_the_words_of_the_protocol_are_quoted() -> None:
    frame = Frame('"', "\\", "t\n", "e", {})
    assert json.loads(phoenix.reply("2.0.0", frame, "ok", b"{}"))[:3] == ['"', "\\", "t\n"]
