"""The Python SDK's smaller rules: presence, inboxes, event streams, keys, pauses, errors."""

import copy
from typing import Any

import pytest
from fleetlm_client.errors import FleetLMError, error_of
from fleetlm_client.event_text import EventText
from fleetlm_client.events import PresenceEvent
from fleetlm_client.following import InboxTopic
from fleetlm_client.presence import Presence
from fleetlm_client.retry import Timing, backoff, patiently
from fleetlm_client.wire import canonical_key, encode, path
from hypothesis import given
from hypothesis import strategies as st


def metas(**refs: str) -> dict[str, Any]:
    return {name: {"metas": [{"phx_ref": ref} for ref in given.split()]} for name, given in refs.items()}


def test_one_is_here_as_long_as_one_socket_is() -> None:
    presence = Presence()
    assert presence.sync(metas(alice="1", bob="2 3")) == PresenceEvent(("alice", "bob"), ("alice", "bob"), ())
    assert presence.diff(metas(alice="4"), {}) is None
    assert presence.diff({}, metas(bob="2")) is None
    assert presence.diff(metas(eve="5"), metas(bob="3")) == PresenceEvent(
        ("alice", "eve"), ("eve",), ("bob",)
    )
    assert presence.diff(metas(alice="6"), metas(alice="1 4")) is None
    assert presence.sync({}) == PresenceEvent((), (), ("alice", "eve"))
    assert presence.diff({}, metas(alice="6")) is None


def entry(key: str, unread: int, at: int = 0) -> dict[str, Any]:
    return {
        "key": key,
        "kind": "dm",
        "updated_at": f"2026-01-05T12:00:{at:02}.000000Z",
        "unread_count": unread,
    }


def test_an_inbox_tells_what_has_changed() -> None:
    inbox = InboxTopic()
    (first,) = inbox.joined({"conversations": []})
    assert first == ((), ())
    (tick,) = inbox.take("tick", {"updates": [entry("a:b", 1, 1), entry("a:c", 2, 2)], "removed": []})
    assert [one.key for one in tick.entries] == ["a:b", "a:c"]
    assert inbox.joined({"conversations": [entry("a:c", 2, 2), entry("a:b", 1, 1)]}) == []
    (missed,) = inbox.joined({"conversations": [entry("a:c", 3, 3)]})
    assert ([one.unread_count for one in missed.entries], missed.removed) == ([3], ("a:b",))
    (tick,) = inbox.take("tick", {"updates": [entry("a:d", 1, 4)], "removed": ["a:c"]})
    assert tick.removed == ("a:c",)
    ((entries, removed),) = inbox.now()
    assert ([one.key for one in entries], removed) == (["a:d"], ())


STREAM = ': hello\n\nretry: 1000\n\nevent: message\nid: 1:2\ndata: {"a":\ndata: "ü"}\n\ndata: x\r\n\r\ndata:y\r\revent: z\n\n'


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=8))
def test_an_event_stream_however_it_is_cut(cuts: list[int]) -> None:
    raw, text, found, start = STREAM.encode(), EventText(), [], 0
    for end in [*sorted(cuts), len(raw)]:
        found += text.feed(raw[start:end])
        start = end
    found += text.feed(b"\n")
    assert found == [("message", '{"a":\n"ü"}'), ("message", "x"), ("message", "y")]


def test_keys_and_paths() -> None:
    assert canonical_key("bob:alice") == canonical_key("alice:bob") == "alice:bob"
    assert canonical_key("lounge") == "lounge"
    assert canonical_key("a:c:b") == "a:c:b"
    assert path("conversations", "alice@example.com:a/b") == "conversations/alice%40example.com%3Aa%2Fb"
    assert encode({"text": "ü 😀"}) == '{"text":"ü 😀"}'
    with pytest.raises(ValueError, match="JSON"):
        encode(float("nan"))


def test_pauses_double_to_a_limit_and_are_spread() -> None:
    assert [backoff(failures, chance=1) for failures in range(5)] == [0, 0.3, 0.6, 1.2, 2.4]
    assert backoff(10_000, chance=1) == 10
    assert backoff(3, chance=0) == backoff(3, chance=1) / 2
    assert 0.15 <= Timing().pause(1) <= 0.3


async def test_patience_ends() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise FleetLMError("unreachable" if tries < 4 else "not_allowed", "no")

    with pytest.raises(FleetLMError) as refused:
        await patiently(work, Timing(backoff=0.001), None)
    assert (refused.value.code, tries) == ("not_allowed", 4)
    tries = 0
    with pytest.raises(FleetLMError) as away:
        await patiently(work, Timing(backoff=0.001), 0)
    assert (away.value.code, tries) == ("unreachable", 1)


def test_errors() -> None:
    said = {"error": {"code": "overloaded", "message": "later", "details": {"retry_after": 2}}}
    error = error_of(said, "", status=503)
    assert (error.code, error.status, error.retry_after, error.details) == (
        "overloaded",
        503,
        2.0,
        {"retry_after": 2},
    )
    assert error.passing
    assert error.as_dict() == said
    assert str(error) == "later"
    copied = copy.copy(error)
    assert (copied.code, copied.retry_after, str(copied)) == ("overloaded", 2.0, "later")
    # A proxy says it with pages.
    assert error_of(None, "x", status=502).code == "unreachable"
    assert error_of("<html>", "x", status=404).code == "invalid_answer"
    assert not error_of({"error": "odd"}, "x", status=404).passing
