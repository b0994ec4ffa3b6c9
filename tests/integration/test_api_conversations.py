"""Conversations over REST: create, list, describe, members, state."""

from typing import Any
from uuid import UUID

import pytest

from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

ROOT = "/api/conversations"


def roles(conversation: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["role"] for one in conversation["participants"]}


def test_a_group_is_created_with_its_members(api: Client) -> None:
    key, one, admin = unique("g"), unique("one"), unique("admin")
    form = {
        "key": key,
        "title": "Ünïcode",
        "metadata": {"a": [1]},
        "participants": [one, {"id": admin, "role": "admin"}],
    }
    answer = api.post(ROOT, form)
    made = answer.json
    assert answer.status == 201
    assert (made["key"], made["dm_key"], made["kind"], made["state"]) == (key, None, "group", "open")
    assert (made["title"], made["metadata"], made["last_seq"]) == ("Ünïcode", {"a": [1]}, 0)
    assert UUID(made["epoch"])
    assert made["participants"] == [
        {"id": one, "kind": "user", "display_name": "", "role": "member", "last_read_seq": 0},
        {"id": admin, "kind": "user", "display_name": "", "role": "admin", "last_read_seq": 0},
    ]
    assert api.ok("GET", f"{ROOT}/{key}") == made
    assert api.ok("GET", f"{ROOT}/{key}/participants") == {"participants": made["participants"]}
    assert api.post(ROOT, {"key": key}).verdict == (409, "conflict")


def test_a_group_gets_a_key(api: Client) -> None:
    keys = {api.group(unique()) for _ in range(2)}
    assert len(keys) == 2
    assert all(key.startswith("group-") for key in keys)


def test_a_dm_is_created_under_its_canonical_key(api: Client) -> None:
    one, other = sorted((unique("a"), unique("b")))
    made = api.ok("POST", ROOT, {"kind": "dm", "key": f"{other}:{one}", "participants": [other, one]})
    assert (made["key"], made["dm_key"], made["kind"]) == (f"{one}:{other}", f"{one}:{other}", "dm")
    again = api.post(ROOT, {"kind": "dm", "participants": [one, other]})
    assert again.verdict == (409, "conflict")


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "dm", "participants": ["a"]},
        {"kind": "dm", "participants": ["a", "a"]},
        {"kind": "dm", "participants": ["a", "b", "c"]},
        {"kind": "dm", "participants": ["a", "b"], "key": "a:c"},
        {"kind": "group", "key": "a:b"},
        {"kind": "broadcast", "key": "a:b"},
        {"kind": "group", "key": "a b"},
        {"kind": "group", "key": ""},
        {"kind": "crowd"},
        {"title": "x" * 201},
        {"participants": [{"id": "a", "role": "owner"}]},
    ],
)
def test_what_is_no_conversation_is_refused(api: Client, form: dict[str, Any]) -> None:
    assert api.post(ROOT, form).verdict == (400, "invalid_request")


def test_conversations_are_listed_newest_first_a_page_at_a_time(api: Client) -> None:
    member = unique("m")
    keys = [api.group(member) for _ in range(5)][::-1]
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = api.ok(
            "GET", ROOT, participant_id=member, limit=2, **({} if cursor is None else {"cursor": cursor})
        )
        found += [one["key"] for one in page["conversations"]]
        cursor, pages = page["next"], pages + 1
    assert (found, pages) == (keys, 3)


def test_a_list_is_narrowed_by_kind_and_state(api: Client) -> None:
    member = unique("m")
    group, broadcast = api.group(member), api.group(member, kind="broadcast")
    dm = api.say(f"{member}:{unique()}", member)["conversation"]
    api.ok("POST", f"{ROOT}/{group}/close")

    def listed(**query: str) -> list[str]:
        page = api.ok("GET", ROOT, participant_id=member, **query)
        return [one["key"] for one in page["conversations"]]

    assert listed() == [dm, broadcast, group]
    assert listed(kind="dm") == [dm]
    assert listed(state="closed") == [group]
    assert listed(kind="dm", state="closed") == []


def test_a_token_lists_what_it_takes_part_in(api: Client) -> None:
    member = unique("m")
    one, other = api.group(member), api.group(member)
    api.group(unique())
    assert [c["key"] for c in api.token(member).ok("GET", ROOT)["conversations"]] == [other, one]
    narrowed = api.token(member, conversations=[one])
    assert [c["key"] for c in narrowed.ok("GET", ROOT)["conversations"]] == [one]
    assert api.token(member).get(ROOT, participant_id=unique()).verdict == (403, "not_allowed")


def test_title_and_metadata_change_each_alone(api: Client) -> None:
    key = api.group(title="Old", metadata={"a": 1})
    assert api.ok("PATCH", f"{ROOT}/{key}", {"title": "New"})["metadata"] == {"a": 1}
    changed = api.ok("PATCH", f"{ROOT}/{key}", {"metadata": {"b": 2}})
    assert (changed["title"], changed["metadata"]) == ("New", {"b": 2})
    assert api.ok("PATCH", f"{ROOT}/{key}", {"title": ""})["title"] == ""
    assert api.ok("GET", f"{ROOT}/{key}")["metadata"] == {"b": 2}


def test_numbers_come_back_as_large_or_small_as_they_were(api: Client) -> None:
    one = unique("one")
    numbers = {"large": 1.7976931348623157e308, "small": 5e-324, "beyond": -(2.0**70), "long": 2**63 - 1}
    floats = {name: float(number) for name, number in numbers.items()}

    def read(answer: dict[str, Any]) -> dict[str, float]:
        """What a client gets that knows no integers of 300 digits."""
        return {name: float(number) for name, number in answer["metadata"].items()}

    key = api.group(one, metadata=numbers)
    assert read(api.ok("GET", f"{ROOT}/{key}")) == floats
    assert read(api.ok("PATCH", f"{ROOT}/{key}", {"metadata": numbers})) == floats
    assert read(api.ok("PATCH", f"/api/participants/{one}", {"metadata": numbers})) == floats
    message = api.say(key, one, content=numbers)
    del message["deduplicated"]
    assert message["content"] == numbers
    assert api.ok("GET", f"{ROOT}/{key}/messages")["messages"] == [message]


def test_states(api: Client) -> None:
    key = api.group(unique())
    for step, state in (("close", "closed"), ("archive", "archived"), ("reopen", "open"), ("reopen", "open")):
        assert api.ok("POST", f"{ROOT}/{key}/{step}")["state"] == state
        assert api.ok("GET", f"{ROOT}/{key}")["state"] == state


def test_members_come_change_and_go(api: Client) -> None:
    one, two, three = unique("one"), unique("two"), unique("three")
    key = api.group(one)
    path = f"{ROOT}/{key}/participants"
    api.ok("POST", "/api/participants", {"id": two})
    api.ok("POST", "/api/participants", {"id": three})
    added = api.ok("POST", path, {"participants": [two, {"id": three, "role": "admin"}, one]})
    assert roles(added) == {one: "member", two: "member", three: "admin"}
    assert roles(api.ok("PATCH", f"{path}/{two}", {"role": "admin"}))[two] == "admin"
    assert roles(api.ok("DELETE", f"{path}/{one}")) == {two: "admin", three: "admin"}
    assert api.delete(f"{path}/{one}").verdict == (404, "participant_not_found")
    assert api.patch(f"{path}/{one}", {"muted": True}).verdict == (404, "participant_not_found")
    unknown = unique()
    answer = api.post(path, {"participants": [unknown]})
    assert answer.verdict == (404, "participant_not_found")
    assert answer.json["error"]["details"] == {"participant_ids": [unknown]}
    assert api.post(path, {"participants": []}).verdict == (400, "invalid_request")


def test_an_admin_of_a_group_runs_it_with_a_token(api: Client) -> None:
    admin, member, guest = unique("admin"), unique("member"), unique("guest")
    key = api.group({"id": admin, "role": "admin"}, member)  # type: ignore[arg-type]
    api.ok("POST", "/api/participants", {"id": guest})
    path, token = f"{ROOT}/{key}", api.token(admin)
    assert token.ok("PATCH", path, {"title": "Ours"})["title"] == "Ours"
    assert guest in roles(token.ok("POST", f"{path}/participants", {"participants": [guest]}))
    assert roles(token.ok("PATCH", f"{path}/participants/{member}", {"role": "admin"}))[member] == "admin"
    assert guest not in roles(token.ok("DELETE", f"{path}/participants/{guest}"))
    assert token.ok("POST", f"{path}/close")["state"] == "closed"


def test_a_member_leaves_a_group_but_not_a_dm(api: Client) -> None:
    one, other = sorted((unique("a"), unique("b")))
    group = api.group(one)
    dm = api.say(f"{one}:{other}", one)["conversation"]
    token = api.token(one)
    assert token.delete(f"{ROOT}/{group}/participants/{one}").status == 200
    assert token.get(f"{ROOT}/{group}").verdict == (403, "not_a_member")
    assert token.delete(f"{ROOT}/{dm}/participants/{one}").verdict == (409, "conflict")
    api.ok("POST", "/api/participants", {"id": (third := unique())})
    answer = api.post(f"{ROOT}/{dm}/participants", {"participants": [third]})
    assert answer.verdict == (409, "conflict")


def test_what_is_not_there(api: Client) -> None:
    for path in (unique(), f"{unique()}:{unique()}"):
        for suffix in ("", "/messages", "/participants", "/events"):
            assert api.get(f"{ROOT}/{path}{suffix}").verdict == (404, "conversation_not_found")
