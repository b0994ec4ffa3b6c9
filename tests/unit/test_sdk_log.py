"""The Python SDK's order: each seq once, whatever comes, and where one begins."""

from collections.abc import Awaitable
from typing import Any

import pytest
from fleetlm_client.events import Event, Joined, MessageEvent, ResetEvent, RunEvent
from fleetlm_client.feed import Follower
from fleetlm_client.following import Arrival, ConversationTopic
from fleetlm_client.log import Log
from fleetlm_client.reader import Reader, beginning
from fleetlm_client.records import Message, Page, message_of
from hypothesis import given
from hypothesis import strategies as st


def message(seq: int) -> dict[str, Any]:
    return {
        "id": f"id-{seq}",
        "seq": seq,
        "conversation": "a:b",
        "sender_id": "a",
        "created_at": "2026-01-05T12:00:00.000000Z",
        "text": str(seq),
        "not_known_yet": 1,
    }


def reply(*seqs: int, last_seq: int | None = None, epoch: str = "one", **more: Any) -> dict[str, Any]:
    return {
        "key": "a:b",
        "dm_key": "a:b",
        "epoch": epoch,
        "kind": "dm",
        "state": "open",
        "last_seq": max(seqs, default=0) if last_seq is None else last_seq,
        "recovered": True,
        "messages": [message(seq) for seq in seqs],
        "members": [],
        "runs": [],
        **more,
    }


class Server:
    """A log as REST gives it."""

    def __init__(self, last_seq: int, epoch: str = "one", first: int = 1) -> None:
        self.first, self.last_seq, self.epoch = first, last_seq, epoch
        self.asked = 0

    def page(self, *, before: int | None = None, after: int | None = None, limit: int) -> Awaitable[Page]:
        return self._page(before, after, limit)

    async def _page(self, before: int | None, after: int | None, limit: int) -> Page:
        self.asked += 1
        there = range(self.first, self.last_seq + 1)
        if after is not None:
            seqs = [seq for seq in there if seq > after][:limit]
            more = bool(seqs) and seqs[-1] < self.last_seq
        else:
            seqs = [seq for seq in there if before is None or seq < before][-limit:]
            more = bool(seqs) and seqs[0] > 1
        return Page([message_of(message(seq)) for seq in seqs], self.epoch, self.last_seq, more)


class Told:
    """What a feed tells one who follows: what the test has put there."""

    def __init__(self) -> None:
        self.topic = ConversationTopic(lambda: "b", {})
        self.is_joined = True
        self.is_over = False
        self.follower: Follower[Event | Arrival] = Follower(self)  # type: ignore[arg-type]
        self.follower._is_behind = False

    def joins(self, **joined: Any) -> None:
        self.follower.put(self.topic.joined(joined), is_join=True)

    def comes(self, *seqs: int) -> None:
        for seq in seqs:
            self.follower.put(self.topic.take("message", message(seq)), is_join=False)

    def ends(self) -> None:
        self.is_over = True
        self.follower.fail(None)


async def read(told: Told, server: Server, log: Log, limit: int = 50) -> list[Any]:
    """Seqs, and the other events but for the joins."""
    told.ends()
    reader, found = Reader(told.follower, server.page, log, limit), []
    while (event := await reader.next()) is not None:
        found.append(event.message.seq if isinstance(event, MessageEvent) else event)
    return [one for one in found if not isinstance(one, Joined)]


async def test_what_comes_is_given_and_nothing_is_asked_for() -> None:
    told, server = Told(), Server(9)
    told.joins(**reply(5, 6))
    told.comes(7, 7, 6, 8)
    told.joins(**reply(8, 9))
    assert await read(told, server, Log(4)) == [5, 6, 7, 8, 9]
    assert server.asked == 0


async def test_a_hole_is_filled_from_the_log() -> None:
    told, server = Told(), Server(480)
    told.joins(**reply(1, 2))
    told.comes(479, 480)
    assert await read(told, server, Log(0)) == list(range(1, 481))
    assert server.asked == 3


async def test_a_log_that_was_pruned_is_read_from_where_it_begins() -> None:
    told, server = Told(), Server(20, first=11)
    told.joins(**reply(20, last_seq=20))
    assert await read(told, server, Log(3)) == list(range(11, 21))
    told, server = Told(), Server(20, first=21)
    told.joins(**reply(20, last_seq=20))
    assert await read(told, server, Log(3)) == []


async def test_another_epoch_begins_anew() -> None:
    told, server = Told(), Server(3, epoch="two")
    told.joins(**reply(1, 2))
    told.joins(**reply(1, 2, 3, epoch="two"))
    told.comes(4)
    assert await read(told, server, Log(0)) == [1, 2, ResetEvent("two"), 1, 2, 3, 4]


async def test_another_epoch_that_is_met_while_a_hole_is_filled() -> None:
    told, server = Told(), Server(2, epoch="two")
    told.joins(**reply(1))
    told.comes(9)
    assert await read(told, server, Log(0)) == [1, ResetEvent("two"), 1, 2]


async def test_a_place_that_this_log_never_came_to() -> None:
    told, server = Told(), Server(3)
    told.joins(**reply(1, 2, 3))
    assert await read(told, server, Log(70)) == [ResetEvent("one"), 1, 2, 3]
    # One that it has come to meanwhile is no other log.
    told, server = Told(), Server(71)
    told.joins(**reply(1, 2, 3))
    told.comes(70, 71)
    assert await read(told, server, Log(70)) == [71]


async def test_a_newcomer_reads_what_the_feed_has_had_before() -> None:
    told, server = Told(), Server(300)
    told.topic.joined(reply(300, last_seq=300))
    told.topic.take("run", {"run_id": "r", "agent_id": "bot", "status": "started"})
    told.follower._is_behind = True
    reader = Reader(told.follower, server.page, Log(0), 50)
    events = [await reader.next() for _ in range(302)]
    assert isinstance(events[0], Joined)
    assert [event.message.seq for event in events[1:301] if isinstance(event, MessageEvent)] == list(
        range(1, 301)
    )
    assert isinstance(events[301], RunEvent)


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 50, 210, 450])
async def test_the_newest_whatever_the_reply_held(limit: int) -> None:
    for seqs in ((398, 399, 400), (1, 2), (400,), ()):
        told, server = Told(), Server(400)
        told.joins(**reply(*seqs, last_seq=400))
        found = await read(told, server, Log(), limit)
        assert found == list(range(401 - min(limit, 400), 401))


@given(
    st.integers(0, 12),
    st.lists(st.one_of(st.integers(1, 12), st.tuples(st.integers(0, 12), st.integers(0, 4))), max_size=30),
)
async def test_every_seq_once_and_in_order(after: int, happened: list[int | tuple[int, int]]) -> None:
    """Pushes and joins, lost, late, twice and torn: what is given has no hole and no end but its own."""
    told, server = Told(), Server(12)
    told.joins(**reply(*range(after + 1, 13), last_seq=12))
    for one in happened:
        if isinstance(one, int):
            told.comes(one)
        else:
            told.joins(**reply(*range(one[0] + 1, min(sum(one), 12) + 1), last_seq=12))
    assert await read(told, server, Log(after, "one")) == list(range(after + 1, 13))


def test_where_one_begins() -> None:
    messages: list[Message] = [message_of(message(seq)) for seq in (7, 8, 9)]
    assert beginning(messages, 9, 3) == 6
    assert beginning(messages, 9, 2) == 7
    assert beginning(messages, 9, 0) == 9
    assert beginning(messages, 9, 4) is None
    assert beginning(messages, 10, 2) is None
    assert beginning(None, 9, 2) is None
    assert beginning([], 0, 50) == 0
    assert beginning(messages[:0], 9, 50) is None


def test_what_a_topic_joins_with() -> None:
    topic = ConversationTopic(lambda: None, {"limit": 7})
    assert topic.place() == {"limit": 7}
    topic.joined(reply(3, 4, last_seq=9))
    assert topic.place() == {"after": 4, "epoch": "one", "limit": 200}
    topic.take("message", message(5))
    assert topic.place()["after"] == 5
    # A stream has no messages in its reply: it says where it begins.
    topic.joined(reply(last_seq=20, start=5))
    assert topic.place()["after"] == 5
    assert not topic.is_far_behind(reply(6, last_seq=900))
    assert topic.is_far_behind(reply(6, last_seq=5_000))
    assert topic.place() == {"limit": 1}


def test_what_is_not_known_is_kept_or_passed_over() -> None:
    assert message_of(message(1)).raw["not_known_yet"] == 1
    topic = ConversationTopic(lambda: None, {})
    assert topic.take("something_new", {"x": 1}) == []
