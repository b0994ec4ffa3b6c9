"""Ids, keys, texts, JSON, mentions and previews."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations import rules
from conversations.errors import InvalidRequest, TooLarge
from conversations.rules import Limits

LIMITS = Limits(text_bytes=8, content_bytes=100, depth=3)
IDS = st.from_regex(r"[A-Za-z0-9._@-]{1,128}", fullmatch=True)


@pytest.mark.parametrize("value", ["a", "alice", "shipping-bot", "a.b_c@d-e", "A" * 128, "0"])
def test_ids_that_are_allowed(value: str) -> None:
    assert rules.check_id(value) == value


@pytest.mark.parametrize("value", ["", "a:b", "a b", "a\n", "\na", "é", "a/b", "a\0", "A" * 129, "１"])
def test_ids_that_are_not(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rules.check_id(value, "sender_id")
    assert caught.value.details == {"field": "sender_id"}


def test_a_dm_key_is_sorted_whichever_way_it_comes() -> None:
    assert (
        rules.dm_key("shipping-bot", "alice") == rules.dm_key("alice", "shipping-bot") == "alice:shipping-bot"
    )
    assert rules.canonical_key("b:a") == "a:b"
    assert rules.dm_participants("a:b") == ("a", "b")
    assert rules.is_dm("a:b")


@given(IDS, IDS)
def test_a_canonical_key_is_stable(one: str, other: str) -> None:
    if one == other:
        with pytest.raises(InvalidRequest):
            rules.canonical_key(f"{one}:{other}")
        return
    key = rules.canonical_key(f"{one}:{other}")
    assert key == rules.canonical_key(f"{other}:{one}") == rules.canonical_key(key)
    assert set(rules.dm_participants(key)) == {one, other}


@pytest.mark.parametrize("key", ["", ":", "a:", ":a", "a:a", "a:b:c", "a b", "a:b\n", "é", "a:é", "a::b"])
def test_keys_that_are_not(key: str) -> None:
    with pytest.raises(InvalidRequest):
        rules.canonical_key(key)


def test_the_key_of_a_group_is_kept_as_it_is() -> None:
    assert rules.canonical_key("Team.1") == "Team.1"
    assert not rules.is_dm("Team.1")


@given(st.text())
def test_any_text_is_a_canonical_key_or_refused(text: str) -> None:
    try:
        key = rules.canonical_key(text)
    except InvalidRequest:
        return
    assert len(key) <= 257
    assert rules.canonical_key(key) == key


def test_a_text_is_limited_in_bytes() -> None:
    assert rules.check_text("12345678", LIMITS) == "12345678"
    assert rules.check_text("éééé", LIMITS) == "éééé"
    for text in ("123456789", "ééééé"):
        with pytest.raises(TooLarge) as caught:
            rules.check_text(text, LIMITS)
        assert caught.value.details == {"field": "text", "limit": 8}


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff\ud800"])
def test_a_text_that_cannot_be_stored(text: str) -> None:
    with pytest.raises(InvalidRequest):
        rules.check_text(text, LIMITS)


@pytest.mark.parametrize("kind", ["text", "system", "redaction", "tool_call", "a.b-c", "a" * 64])
def test_kinds_that_are_allowed(kind: str) -> None:
    assert rules.check_kind(kind) == kind


@pytest.mark.parametrize("kind", ["", "Text", "1a", "a b", "é", "text\n", "a" * 65, "a\0"])
def test_kinds_that_are_not(kind: str) -> None:
    with pytest.raises(InvalidRequest):
        rules.check_kind(kind)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, 2.5, None, True, "é"]},
        {"a": {"b": {}}},
        {"a": {"b": {"c": "leaf"}}},
        {"n": 2**63 - 1, "m": -(2**63) + 1},
        {"n": 1e308, "z": 0, "f": -0.0},
    ],
)
def test_json_that_can_be_stored(value: Any) -> None:
    rules.check_json(value, "content", 3)


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": {"c": {}}}},
        {"a": [[[]]]},
        {"a\0": 1},
        {"a": "b\0"},
        {"\ud800": 1},
        {"a": ["\udfff"]},
        {"n": 2**63},
        {"n": -(2**64)},
        {"n": 10**400},
        {"n": math.inf},
        {"n": [math.nan]},
    ],
)
def test_json_that_cannot(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rules.check_json(value, "metadata", 3)
    assert caught.value.details == {"field": "metadata"}


def test_json_of_any_depth_is_refused_without_going_all_the_way_down() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidRequest):
        rules.check_json(value, "content", 32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no one", []),
        ("@ alone", []),
        ("@bob", ["bob"]),
        ("hi @bob, and @alice.", ["bob", "alice"]),
        ("@alice @bob @alice", ["alice", "bob"]),
        ("(@bob)", ["bob"]),
        ("@bob's", ["bob"]),
        ("@bob...", ["bob"]),
        ("@bo", []),
        ("@bobby", []),
        ("@Bob", []),
        ("mail to bob@bob", []),
        ("@mallory", []),
        ("@eve@example.org", ["eve@example.org"]),
        ("@dot.", ["dot."]),
        ("@bob\n@alice", ["bob", "alice"]),
    ],
)
def test_mentions_are_members_in_order_each_once(text: str, expected: list[str]) -> None:
    members = {"alice", "bob", "eve@example.org", "dot", "dot."}
    assert rules.mentions(text, members) == expected


@given(st.text(alphabet="@ab.-_ ,\n"), st.sets(st.text(alphabet="ab.-_@", min_size=1, max_size=4)))
def test_mentions_are_never_of_others(text: str, members: set[str]) -> None:
    found = rules.mentions(text, members)
    assert len(set(found)) == len(found)
    assert set(found) <= members
    assert all(f"@{one}" in text for one in found)


def test_a_hostile_text_is_searched_for_mentions_in_no_time() -> None:
    for text in ("@" * 32_768, "@a" * 16_384, ("@" + "-" * 127) * 256):
        assert rules.mentions(text, {"alice"}) == []


def test_a_preview_has_140_characters() -> None:
    assert rules.preview("é" * 200) == "é" * 140
    assert rules.preview("short") == "short"


def test_what_counts_as_unread() -> None:
    assert [kind for kind in ("text", "system", "image", "redaction") if rules.counts_as_unread(kind)] == [
        "text",
        "image",
    ]
