"""The search for words: what it finds, for whom, and how it goes on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import runtime.search
from conversations import search
from conversations.errors import Overloaded
from conversations.search import Place
from runtime.core import Runtime
from runtime.search import Scope, Searches
from tests.integration.live import append, holding, make_group, waiting_for
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

PATH = "/api/search"


def find(api: Client, q: str, **query: object) -> list[str]:
    """The texts that a search finds in one go."""
    answer = api.ok("GET", PATH, q=q, **query)
    assert answer["cursor"] is None
    return [message["text"] for message in answer["messages"]]


def pages(api: Client, **query: object) -> Iterator[dict[str, Any]]:
    """The answers of a search that goes on until its end."""
    answer = api.ok("GET", PATH, **query)
    yield answer
    while answer["cursor"] is not None:
        answer = api.ok("GET", PATH, **query, cursor=answer["cursor"])
        yield answer


def test_all_words_in_any_case_and_inside_of_others(api: Client) -> None:
    one = unique("one")
    key = api.group(one)
    for text in (
        "The PARCEL is late",
        "a parcel",
        "late",
        "Ärger mit dem Paket",
        "x" * 5_000 + "latest parcels",
    ):
        api.say(key, one, text)
    assert find(api, "parcel LATE", key=key)[1:] == ["The PARCEL is late"]
    assert len(find(api, "parcel late", key=key)) == 2
    assert find(api, "late  parcel\tthe", key=key) == ["The PARCEL is late"]
    assert find(api, "äRGER", key=key) == ["Ärger mit dem Paket"]
    assert find(api, "nowhere", key=key) == []


def test_wildcards_are_letters_like_others(api: Client) -> None:
    one = unique("one")
    key = api.group(one)
    texts = ["100%", "100 percent", "snake_case", "snakeXcase", r"C:\temp", 'it\'s $1 "quoted" {brace}, NULL']
    for text in texts:
        api.say(key, one, text)
    assert find(api, "0%", key=key) == ["100%"]
    assert find(api, "e_c", key=key) == ["snake_case"]
    assert find(api, "\\t", key=key) == [r"C:\temp"]
    assert find(api, "\\", key=key) == [r"C:\temp"]
    assert find(api, "% _", key=key) == []
    assert find(api, 'it\'s "quoted" {brace}, null', key=key) == [texts[-1]]


def test_a_message_is_found_as_the_log_has_it(api: Client) -> None:
    one, other = sorted((unique("a"), unique("b")))
    stored = api.say(f"{one}:{other}", one, "whole", content={"a": 1}, metadata={"b": None}, client_id="c")
    del stored["deduplicated"]
    answer = api.token(other).ok("GET", PATH, q="whole")
    assert answer == {"messages": [stored], "cursor": None, "examined": 1}


def test_what_was_blanked_is_not_found(api: Client) -> None:
    one = unique("one")
    key = api.group(one)
    api.say(key, one, "a secret")
    api.say(key, one, "no secret")
    api.say(key, one, "the secret was blanked", kind="redaction", reply_to=1)
    assert find(api, "secret", key=key) == ["no secret"]
    assert find(api, "blanked", key=key) == []


def test_the_newest_conversation_comes_first_and_its_newest_message(api: Client) -> None:
    one = unique("one")
    older, newer = api.group(one), api.group(one)
    for key, text in ((newer, "w 1"), (older, "w 2"), (newer, "w 3"), (older, "w 4"), (older, "other")):
        api.say(key, one, text)
    assert find(api.token(one), "w") == ["w 3", "w 1", "w 4", "w 2"]
    assert find(api, "w", participant_id=one) == ["w 3", "w 1", "w 4", "w 2"]
    assert find(api.token(one), "w", key=older) == ["w 4", "w 2"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_go_on_where_they_ended(api: Client, limit: int) -> None:
    one = unique("one")
    keys = [api.group(one) for _ in range(3)]
    for number in range(5):
        for key in keys:
            api.say(key, one, f"w {number}" if number % 2 == 0 else "other")
    api.group(one)  # nothing was said here
    answers = list(pages(api.token(one), q="w ", limit=limit))
    found = [(message["conversation"], message["text"]) for one in answers for message in one["messages"]]
    assert found == [(key, f"w {number}") for key in reversed(keys) for number in (4, 2, 0)]
    assert all(len(one["messages"]) <= limit for one in answers)
    assert sum(one["examined"] for one in answers) == 15


def test_what_comes_meanwhile_moves_nothing(api: Client) -> None:
    one = unique("one")
    key = api.group(one)
    for number in range(4):
        api.say(key, one, f"w {number}")
    first = api.ok("GET", PATH, q="w", participant_id=one, limit=2)
    api.say(key, one, "w 4")
    api.say(api.group(one), one, "w in a new conversation")
    second = api.ok("GET", PATH, q="w", participant_id=one, limit=2, cursor=first["cursor"])
    assert [m["text"] for m in first["messages"] + second["messages"]] == ["w 3", "w 2", "w 1", "w 0"]


def test_closed_and_archived_conversations_are_searched(api: Client) -> None:
    one = unique("one")
    keys = [api.group(one) for _ in range(2)]
    for key, state in zip(keys, ("close", "archive"), strict=True):
        api.say(key, one, f"then {state}")
        api.ok("POST", f"/api/conversations/{key}/{state}")
    assert find(api.token(one), "then") == ["then archive", "then close"]


def test_members_find_what_they_may_read(api: Client) -> None:
    one, other, outsider = unique("one"), unique("two"), unique("out")
    shared, own = api.group(one, other), api.group(one)
    api.say(shared, one, "word shared")
    api.say(own, one, "word own")
    assert find(api.token(one), "word") == ["word own", "word shared"]
    assert find(api.token(other), "word") == ["word shared"]
    assert find(api.token(outsider), "word") == []
    narrowed = api.token(one, conversations=[shared, unique("elsewhere")])
    assert find(narrowed, "word") == ["word shared"]
    assert find(narrowed, "word", key=shared) == ["word shared"]
    assert narrowed.get(PATH, q="word", key=own).verdict == (403, "not_a_member")
    assert api.token(other).get(PATH, q="word", key=own).verdict == (403, "not_a_member")
    assert api.token(other).get(PATH, q="word", key=unique()).verdict == (403, "not_a_member")
    assert api.token(other).get(PATH, q="word", participant_id=one).verdict == (403, "not_allowed")
    assert api.get(PATH, q="word", key=own, participant_id=other).verdict == (403, "not_a_member")
    assert api.get(PATH, q="word", key=unique()).verdict == (404, "conversation_not_found")
    assert find(api, "word", key=own, participant_id=one) == ["word own"]
    cursor = api.token(one).ok("GET", PATH, q="word", limit=1)["cursor"]
    assert find(api.token(outsider), "word", cursor=cursor) == []
    api.ok("DELETE", f"/api/conversations/{shared}/participants/{other}")
    assert find(api.token(other), "word") == []


def test_a_broadcast_is_searched_by_its_key(api: Client) -> None:
    reader = unique("reader")
    key = api.group(kind="broadcast")
    api.say(key, "news", "good tidings")
    assert find(api.token(reader), "tidings", key=key) == ["good tidings"]
    assert find(api, "tidings", key=key, participant_id=reader) == ["good tidings"]
    assert find(api.token(reader), "tidings") == []


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": ""},
        {"q": " \t"},
        {"q": "a\0b"},
        {"q": "x" * 201},
        {"q": " ".join("abcdefghijklmnopq")},
        {"q": "x", "limit": 0},
        {"q": "x", "limit": 201},
        {"q": "x", "cursor": "x"},
        {"q": "x", "cursor": "1-" + "9" * 19},
        {"q": "x", "cursor": "1-1"},
        {"q": "x", "cursor": "1-0"},
        {"q": "x", "key": "a/b"},
        {"q": "x", "unknown": 1},
    ],
)
def test_what_is_no_search(api: Client, query: dict[str, object]) -> None:
    key = api.group(unique())
    assert api.get(PATH, **{"key": key, **query}).verdict == (400, "invalid_request")


def test_a_server_says_where(api: Client) -> None:
    assert api.get(PATH, q="x").verdict == (400, "invalid_request")
    assert find(api, "x", participant_id=unique()) == []


# Bounds.


async def test_a_request_looks_at_so_many_messages_and_goes_on(here: Runtime) -> None:
    people = (unique(),)
    groups = [await make_group(people) for _ in range(5)]
    for number, group in enumerate(groups):
        await append(here.appender, *[group.request(f"w {n}") for n in range(number * 10)])
    searches = Searches(here.pool, 30)
    scope, place, seen = Scope(participant_id=people[0]), None, []
    while True:
        found = await searches.find(scope, search.patterns("w"), place, 200)
        assert found.examined <= 30
        seen += [(message.conversation_id, message.seq) for message in found.messages]
        place = found.rest
        if place is None:
            break
    stored = [(group.id, seq) for number, group in enumerate(groups) for seq in range(1, number * 10 + 1)]
    assert seen == sorted(stored, reverse=True)


async def test_conversations_without_messages_count(here: Runtime) -> None:
    people = (unique(),)
    groups = [await make_group(people) for _ in range(7)]
    await append(here.appender, groups[0].request("w"))
    searches = Searches(here.pool, 3)
    found = await searches.find(Scope(participant_id=people[0]), ["%w%"], None, 5)
    assert (found.messages, found.examined, found.rest) == ([], 0, Place(groups[4].id, 1))
    found = await searches.find(Scope(participant_id=people[0]), ["%w%"], Place(groups[1].id, 1), 5)
    assert (len(found.messages), found.examined, found.rest) == (1, 1, None)


async def test_a_search_that_gets_nowhere_ends(here: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    group = await make_group(1)
    await append(here.appender, group.request("w"))
    scope = Scope(participant_id=group.people[0])
    monkeypatch.setattr(runtime.search, "STEP_TIMEOUT", "50ms")
    async with holding("LOCK TABLE conversations_message"):
        with pytest.raises(Overloaded):
            await here.searches.find(scope, ["%w%"], None, 5)
    assert len((await here.searches.find(scope, ["%w%"], None, 5)).messages) == 1


async def test_few_searches_run_at_once(here: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    group = await make_group(1)
    await append(here.appender, group.request("w"))
    scope = Scope(participant_id=group.people[0])
    async with holding("LOCK TABLE conversations_message") as holder:
        running = [asyncio.create_task(here.searches.find(scope, ["%w%"], None, 5)) for _ in range(2)]
        await waiting_for(holder, 2)
        with monkeypatch.context() as patched:
            patched.setattr(runtime.search, "PATIENCE", 0.01)
            with pytest.raises(Overloaded):
                await here.searches.find(scope, ["%w%"], None, 5)
        late = asyncio.create_task(here.searches.find(scope, ["%w%"], None, 5))
    assert [len(one.messages) for one in await asyncio.gather(*running, late)] == [1, 1, 1]
