"""Read cursors, unread and mention counts, and the inbox: built anew and from its cache."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from conversations.connection import Connection
from inbox import queries, snapshot
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")


def counts(api: Client, participant_id: str, key: str) -> tuple[int, int, int]:
    """Unread, mentions, and where the cursor stands."""
    entry = api.entry(participant_id, key)
    return entry["unread_count"], entry["mention_count"], entry["last_read_seq"]


def read(api: Client, participant_id: str, key: str, seq: int) -> int:
    answer = api.ok("POST", f"/api/conversations/{key}/read", {"participant_id": participant_id, "seq": seq})
    assert answer["participant_id"] == participant_id
    return int(answer["seq"])


def keys(api: Client, participant_id: str) -> list[str]:
    return [one["key"] for one in api.ok("GET", f"/api/inbox/{participant_id}")["conversations"]]


@pytest.fixture
def pair() -> tuple[str, str, str]:
    """Two participants and the key of their dm."""
    one, other = sorted((unique("a"), unique("b")))
    return one, other, f"{one}:{other}"


def test_the_cursor_never_goes_back_and_never_passes_the_end(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    for _ in range(4):
        api.say(key, one)
    assert counts(api, other, key) == (4, 0, 0)
    assert read(api, other, key, 3) == 3
    assert read(api, other, key, 1) == 3
    assert counts(api, other, key) == (1, 0, 3)
    assert read(api, other, key, 2**63 - 1) == 4
    assert read(api, other, key, 0) == 4
    assert counts(api, other, key) == (0, 0, 4)
    api.say(key, one)
    assert counts(api, other, key) == (1, 0, 4)


def test_unread_counts_what_others_said(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    api.say(key, one, kind="system")
    api.say(key, one, kind="note")
    api.say(key, one, "", kind="redaction", reply_to=1)
    assert counts(api, other, key) == (2, 0, 0)
    assert counts(api, one, key) == (0, 0, 4)  # one's own are read
    assert read(api, other, key, 2) == 2
    assert counts(api, other, key) == (1, 0, 2)
    assert read(api, other, key, 4) == 4
    assert counts(api, other, key) == (0, 0, 4)


def test_sending_reads_up_to_ones_own_message(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    api.say(key, one)
    api.say(key, other)
    assert counts(api, other, key) == (0, 0, 3)
    assert counts(api, one, key) == (1, 0, 2)
    api.say(key, one)
    assert counts(api, other, key) == (1, 0, 3)


def test_mentions_are_counted_for_members_until_they_are_read(api: Client) -> None:
    one, two, outsider = unique("one"), unique("two"), unique("out")
    key = api.group(one, two)
    message = api.say(key, one, f"@{two} @{two}, and @{outsider} and me, @{one}.")
    assert message["mentions"] == [two, one]
    api.say(key, one, f"again @{two}!")
    api.say(key, one, "without")
    assert counts(api, two, key) == (3, 2, 0)
    assert counts(api, one, key) == (0, 0, 3)
    read(api, two, key, 1)
    assert counts(api, two, key) == (2, 1, 1)
    api.say(key, two, "an answer")
    assert counts(api, two, key) == (0, 0, 4)


def test_a_new_member_starts_at_zero(api: Client) -> None:
    one, late = unique("one"), unique("late")
    key = api.group(one)
    api.say(key, one, f"@{late}")
    api.say(key, one)
    api.ok("POST", "/api/participants", {"id": late})
    api.ok("POST", f"/api/conversations/{key}/participants", {"participants": [late]})
    assert counts(api, late, key) == (0, 0, 2)
    api.say(key, one, f"@{late}")
    assert counts(api, late, key) == (1, 1, 2)
    api.ok("DELETE", f"/api/conversations/{key}/participants/{late}")
    assert keys(api, late) == []
    api.say(key, one)
    api.ok("POST", f"/api/conversations/{key}/participants", {"participants": [late]})
    assert counts(api, late, key) == (0, 0, 4)


def test_only_members_have_a_cursor(api: Client, pair: tuple[str, str, str]) -> None:
    one, _, key = pair
    api.say(key, one)
    answer = api.post(f"/api/conversations/{key}/read", {"participant_id": unique(), "seq": 1})
    assert answer.verdict == (403, "not_a_member")
    assert api.post(f"/api/conversations/{key}/read", {"seq": 1}).verdict == (400, "invalid_request")


def test_an_entry_of_the_inbox(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    message = api.say(key, one, "x" * 141)
    assert api.entry(other, key) == {
        "key": key,
        "dm_key": key,
        "kind": "dm",
        "title": "",
        "state": "open",
        "participants": [one, other],
        "last_message": {
            "seq": 1,
            "sender_id": one,
            "text": "x" * 140,
            "created_at": message["created_at"],
        },
        "unread_count": 1,
        "mention_count": 0,
        "last_read_seq": 0,
        "muted": False,
        "updated_at": api.entry(other, key)["updated_at"],
    }
    group = api.group(other, title="A group")
    assert keys(api, other) == [group, key]
    entry = api.entry(other, group)
    assert (entry["dm_key"], entry["title"], entry["last_message"]) == (None, "A group", None)
    api.say(key, one)
    assert keys(api, other) == [key, group]


def test_archived_leaves_the_inbox_closed_stays(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    for step, state in (("close", "closed"), ("archive", None), ("reopen", "open")):
        api.ok("POST", f"/api/conversations/{key}/{step}")
        assert keys(api, other) == ([key] if state else [])
        if state:
            assert api.entry(other, key)["state"] == state
    assert counts(api, other, key) == (1, 0, 0)


def test_each_member_mutes_for_itself(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    api.token(other).patch(f"/api/conversations/{key}/participants/{other}", {"muted": True})
    assert (api.entry(other, key)["muted"], api.entry(one, key)["muted"]) == (True, False)
    assert counts(api, other, key) == (1, 0, 0)
    api.ok("PATCH", f"/api/conversations/{key}/participants/{other}", {"muted": False})
    assert api.entry(other, key)["muted"] is False


def test_the_live_inbox_over_server_sent_events(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    with api.token(other).events(f"/api/inbox/{other}/events") as events:
        name, snapshot_, _ = events.next()
        assert (name, snapshot_["conversations"]) == ("snapshot", [api.entry(other, key)])
        api.say(key, one, "news")
        name, tick, _ = events.next()
        assert (name, tick["updates"][0]["unread_count"], tick["removed"]) == ("tick", 2, [])
        api.ok("POST", f"/api/conversations/{key}/archive")
        assert events.next()[1] == {"updates": [], "removed": [key]}


def test_the_live_inbox_over_a_socket(api: Client, pair: tuple[str, str, str]) -> None:
    one, other, key = pair
    api.say(key, one)
    topic = f"inbox:{other}"
    with api.token(other).socket() as socket:
        assert socket.join(topic) == {"conversations": [api.entry(other, key)]}
        api.say(key, one, f"@{other}")
        [entry] = socket.wait_for("tick")["updates"]
        assert (entry["unread_count"], entry["mention_count"]) == (2, 1)
        read(api, other, key, 2)
        assert socket.wait_for("tick")["updates"][0]["unread_count"] == 0


# The cache.


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with await Connection.connect(settings.FLEETLM.database_url, autocommit=True) as one:
        yield one


async def built_anew(connection: Connection, participant_id: str) -> list[dict[str, Any]]:
    """The inbox without a look at the cache."""
    order = await queries.versions(connection, participant_id, settings.FLEETLM.inbox_limit)
    entries = await queries.entries(connection, [(participant_id, one) for one in order])
    return [entries[participant_id, one] for one in order]


async def test_the_cached_inbox_is_right_after_every_kind_of_change(
    api: Client, connection: Connection
) -> None:
    me, friend, other = unique("me"), unique("friend"), unique("other")
    api.ok("POST", "/api/participants", {"id": other})
    groups = [api.group(me, friend) for _ in range(snapshot.WORTH_CACHING + 3)]
    group = groups[5]
    path = f"/api/conversations/{group}"
    members = f"{path}/participants"
    passing = api.group(me, friend)

    async def check(step: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.ok("GET", f"/api/inbox/{me}")["conversations"]
        assert found == await built_anew(connection, me), step
        return found

    assert len(await check("at first")) == len(groups) + 1
    assert cache.get(snapshot._cache_key(me)) is not None
    assert await check("unchanged") == await check("unchanged, again")

    seen = [await check("before")]
    for step, change in (
        ("a message of somebody else", lambda: api.say(group, friend, "secret")),
        ("a mention", lambda: api.say(group, friend, f"@{me}")),
        (
            "a redaction of an earlier message",
            lambda: api.say(group, friend, "", kind="redaction", reply_to=1),
        ),
        ("a redaction of the newest one", lambda: api.say(group, friend, "", kind="redaction", reply_to=2)),
        ("a system message", lambda: api.say(group, friend, "…", kind="system")),
        ("reading a little", lambda: read(api, me, group, 1)),
        ("reading all", lambda: read(api, me, group, 5)),
        ("a message of my own", lambda: api.say(group, me)),
        ("muting", lambda: api.ok("PATCH", f"{members}/{me}", {"muted": True})),
        ("a role", lambda: api.ok("PATCH", f"{members}/{me}", {"role": "admin"})),
        ("a title", lambda: api.ok("PATCH", path, {"title": "New"})),
        ("a new member", lambda: api.ok("POST", members, {"participants": [other]})),
        ("a member who goes", lambda: api.ok("DELETE", f"{members}/{friend}")),
        ("a member who is deleted", lambda: api.ok("DELETE", f"/api/participants/{other}")),
        ("closing", lambda: api.ok("POST", f"{path}/close")),
        ("archiving", lambda: api.ok("POST", f"{path}/archive")),
        ("reopening", lambda: api.ok("POST", f"{path}/reopen")),
        ("a new conversation", lambda: groups.append(api.group(me))),
        ("leaving", lambda: api.ok("DELETE", f"/api/conversations/{passing}/participants/{me}")),
    ):
        change()
        seen.append(await check(step))
        assert seen[-1] != seen[-2], f"{step} changed nothing"
    assert len(seen) == 20
    assert all(before != after for before, after in pairwise(seen))
    assert cache.get(snapshot._cache_key(me)) is not None


async def test_a_broken_cache_entry_is_built_anew(api: Client, connection: Connection) -> None:
    me = unique("me")
    for _ in range(snapshot.WORTH_CACHING):
        api.group(me)
    cache.set(snapshot._cache_key(me), b"{}", 60)
    assert api.ok("GET", f"/api/inbox/{me}")["conversations"] == await built_anew(connection, me)
