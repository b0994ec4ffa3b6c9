"""Presence across processes: whatever is lost, doubled or late, a state announcement puts it right."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtime.presence import GATHER_SECONDS, Presence, Refs
from tests import clock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def on_the_wire(refs: Refs) -> Refs:
    """A copy, as another process gets it."""
    return {ref: (one, meta) for ref, (one, meta) in json.loads(json.dumps(refs)).items()}


class Client:
    """What a browser makes of what it is pushed: `syncState` and `syncDiff` of phoenix.js."""

    def __init__(self) -> None:
        self.here: dict[str, dict[str, Any]] = {}
        self.diffs: list[tuple[float, dict[str, Any]]] = []

    def push(self, event: str, payload: Any) -> None:
        if event == "presence_state":
            self.here = {
                name: {meta["phx_ref"]: meta for meta in entry["metas"]} for name, entry in payload.items()
            }
            return
        assert event == "presence_diff"
        self.diffs.append((round(asyncio.get_running_loop().time(), 3), payload))
        for name, entry in payload["joins"].items():
            self.here.setdefault(name, {}).update({meta["phx_ref"]: meta for meta in entry["metas"]})
        for name, entry in payload["leaves"].items():
            for meta in entry["metas"]:
                self.here.get(name, {}).pop(meta["phx_ref"], None)
            if not self.here.get(name):
                self.here.pop(name, None)

    def shows(self, state: dict[str, Any]) -> bool:
        return self.here == {
            name: {meta["phx_ref"]: meta for meta in entry["metas"]} for name, entry in state.items()
        }


@dataclass
class Process:
    """One process with one client, and what it has said that has not arrived yet."""

    name: str
    limit: int = 100
    said: list[tuple[str, Refs]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client()
        self.presence = Presence(self._say, self.client.push, limit=self.limit)

    def _say(self, op: str, refs: Refs) -> None:
        self.said.append((op, on_the_wire(refs)))

    def hear(self, other: "Process", number: int = 0, *, keep: bool = False) -> None:
        """Take something that another process has said; it is said twice if it is kept."""
        op, refs = other.said[number] if keep else other.said.pop(number)
        self.presence.heard(other.name, op, on_the_wire(refs))

    def hear_all(self, other: "Process") -> None:
        while other.said:
            self.hear(other)


Play = Callable[[Process, Process], Awaitable[None]]


def played(play: Play, limit: int = 100) -> tuple[Process, Process]:
    """Two processes after this and after everything has been pushed."""

    async def main() -> tuple[Process, Process]:
        one, other = Process("one", limit), Process("other", limit)
        await play(one, other)
        await asyncio.sleep(1)
        return one, other

    return clock.run(main)


def metas(*refs: str) -> dict[str, Any]:
    return {"metas": [{"phx_ref": ref, "online_at": "2026-01-31T12:00:00.000000Z"} for ref in refs]}


def test_a_join_is_told_here_and_there() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        other.hear_all(one)

    for process in played(play):
        assert process.presence.state() == {"alice": metas("r1")}
        assert process.client.diffs == [(GATHER_SECONDS, {"joins": {"alice": metas("r1")}, "leaves": {}})]


def test_one_with_two_sockets_is_here_until_both_have_left() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        other.presence.join("r2", "alice", NOW)
        one.hear_all(other)
        other.hear_all(one)
        await asyncio.sleep(1)
        one.presence.leave("r1")
        other.hear_all(one)

    for process in played(play):
        assert process.presence.state() == {"alice": metas("r2")}
        assert process.client.diffs[-1][1] == {"joins": {}, "leaves": {"alice": metas("r1")}}
        assert process.client.shows(process.presence.state())


def test_a_leave_of_nobody_is_not_told() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.leave("r1")
        assert one.said == []

    assert played(play)[0].client.diffs == []


def test_changes_of_one_moment_are_one_diff() -> None:
    async def play(one: Process, other: Process) -> None:
        for number in range(10):
            one.presence.join(f"r{number}", "alice", NOW)
        one.presence.leave("r0")

    one, _ = played(play)
    assert [diff for _, diff in one.client.diffs] == [
        {"joins": {"alice": metas(*[f"r{n}" for n in range(1, 10)])}, "leaves": {"alice": metas("r0")}}
    ]


def test_one_who_asks_is_told_everything() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        one.said.clear()
        one.presence.heard("other", "ask", {})
        other.hear_all(one)

    _, other = played(play)
    assert other.presence.state() == {"alice": metas("r1")}


def test_a_process_that_is_gone_is_forgotten_with_its_sockets() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        other.presence.join("r2", "bob", NOW)
        other.hear_all(one)
        await asyncio.sleep(1)
        other.presence.forget("one")
        other.presence.forget("never heard of")

    _, other = played(play)
    assert other.presence.state() == {"bob": metas("r2")}
    assert other.client.shows(other.presence.state())


def test_one_who_was_forgotten_by_mistake_is_back_at_once() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        other.hear_all(one)
        await asyncio.sleep(1)
        other.presence.forget("one")
        one.presence.announce_all()
        other.hear_all(one)

    _, other = played(play)
    assert other.client.shows({"alice": metas("r1")})


def test_a_lost_last_leave_is_put_right() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        other.hear_all(one)
        one.presence.leave("r1")
        one.said.clear()
        one.presence.announce_all()
        other.hear_all(one)

    _, other = played(play)
    assert other.presence.state() == {}
    assert other.client.here == {}


def test_a_crowd_is_not_announced() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        one.presence.join("r2", "bob", NOW)
        other.presence.join("r3", "carol", NOW)
        one.hear_all(other)

    one, other = played(play, limit=2)
    assert one.presence.state() == {}
    assert one.client.diffs == []
    assert other.client.shows({"carol": metas("r3")})


def test_stopped_it_tells_nothing() -> None:
    async def play(one: Process, other: Process) -> None:
        one.presence.join("r1", "alice", NOW)
        one.presence.stop()

    assert played(play)[0].client.diffs == []


PEOPLE = ("alice", "bob", "carol")
STEPS = st.tuples(
    st.sampled_from(["join", "leave", "hear", "hear again", "lose", "state", "ask", "forget", "wait"]),
    st.booleans(),
    st.integers(0, 20),
)


@given(st.lists(STEPS, max_size=60))
def test_after_a_state_announcement_both_know_the_same(steps: list[tuple[str, bool, int]]) -> None:
    async def play(one: Process, other: Process) -> None:
        joined: dict[str, list[str]] = {"one": [], "other": []}
        for number, (what, first, pick) in enumerate(steps):
            me, peer = (one, other) if first else (other, one)
            await _step(me, peer, joined[me.name], what, pick, number)
        one.said.clear()
        other.said.clear()
        one.presence.announce_all()
        other.presence.announce_all()
        one.hear_all(other)
        other.hear_all(one)
        for me in (one, other):
            assert _refs(me.presence.state()) == {*joined["one"], *joined["other"]}

    for process in played(play):
        assert process.client.shows(process.presence.state())


async def _step(me: Process, peer: Process, joined: list[str], what: str, pick: int, number: int) -> None:
    if what == "join":
        joined.append(f"{me.name}.{number}")
        me.presence.join(joined[-1], PEOPLE[pick % 3], NOW)
    elif what == "leave" and joined:
        me.presence.leave(joined.pop(pick % len(joined)))
    elif what.startswith("hear") and peer.said:
        me.hear(peer, pick % len(peer.said), keep=what == "hear again")
    elif what == "lose" and peer.said:
        peer.said.pop(pick % len(peer.said))
    elif what == "state":
        me.presence.announce_all()
    elif what == "ask":
        me.presence.heard(peer.name, "ask", {})
    elif what == "forget":
        me.presence.forget(peer.name)
    elif what == "wait":
        await asyncio.sleep(pick / 100)


def _refs(state: dict[str, Any]) -> set[str]:
    return {meta["phx_ref"] for entry in state.values() for meta in entry["metas"]}


def test_a_process_tells_no_more_of_a_crowd_than_that_it_is_one() -> None:
    async def play(one: Process, other: Process) -> None:
        for number in range(50):
            one.presence.join(f"r{number}", "alice", NOW)
        assert len(one.said) == one.limit + 1
        one.presence.announce_all()
        assert len(one.said[-1][1]) == one.limit + 1
        other.hear_all(one)
        one.presence.leave("r49")
        assert one.said == []

    one, other = played(play, limit=3)
    assert one.presence.state() == other.presence.state() == {}
    assert other.client.diffs == []


def test_when_a_crowd_has_gone_those_who_stay_are_shown() -> None:
    async def play(one: Process, other: Process) -> None:
        for number in range(10):
            one.presence.join(f"r{number}", "alice", NOW)
        other.hear_all(one)
        await asyncio.sleep(1)
        for number in range(8):
            one.presence.leave(f"r{number}")
        other.hear_all(one)

    for process in played(play, limit=3):
        assert process.presence.state() == {"alice": metas("r8", "r9")}
        assert process.client.shows(process.presence.state())


@given(st.lists(STEPS, max_size=80), st.integers(0, 4))
def test_few_or_many_after_a_state_announcement_both_know_the_same(
    steps: list[tuple[str, bool, int]], limit: int
) -> None:
    """Of a crowd both know that it is one; when it is none any more, they show who is here."""
    joined: dict[str, list[str]] = {"one": [], "other": []}

    async def play(one: Process, other: Process) -> None:
        for number, (what, first, pick) in enumerate(steps):
            me, peer = (one, other) if first else (other, one)
            await _step(me, peer, joined[me.name], what, pick, number)
        one.said.clear()
        other.said.clear()
        one.presence.announce_all()
        other.presence.announce_all()
        one.hear_all(other)
        other.hear_all(one)

    for process in played(play, limit):
        here = {*joined["one"], *joined["other"]}
        if len(here) > limit:
            assert process.presence.state() == {}
        else:
            assert _refs(process.presence.state()) == here
            assert process.client.shows(process.presence.state())
