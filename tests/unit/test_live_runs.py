"""Whatever frames bring, and however often, every follower is given each chunk of a run once, in order."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as ValkeyAway

from runtime import live_run
from runtime.live_run import LiveRun
from runtime.live_runs import ENDED_REMEMBERED, SILENCE_SECONDS, LiveRuns
from runtime.subscriber import Address, Subscriber
from tests import clock

RUN, AGENT = "0192c0de-0000-7000-8000-000000000001", "bot"


class Follower:
    """A subscriber that puts together what it is given of one run, as a client does."""

    def __init__(self, room: bool = True) -> None:
        self.participant_id: str | None = None
        self.behind = not room
        self.to = -1
        self.text = ""
        self.pieces = 0
        self.events: list[tuple[str, Any]] = []
        self._room = asyncio.Event()
        if room:
            self._room.set()

    @property
    def address(self) -> "Follower":
        return self

    def frame(self, event: str, payload: bytes, seq: int | None) -> Any:
        return event, orjson.loads(payload)

    def write(self, frame: Any) -> None:
        event, payload = frame
        self.events.append((event, payload))
        if event == "delta":
            assert payload["from"] == self.to, "no hole, nothing twice"
            self.take(payload)
        elif payload["status"] == "started":
            self.to, self.text = 0, ""

    def take(self, told: dict[str, Any]) -> None:
        self.to = told["to"]
        self.text += "".join(chunk["delta"] for chunk in told["chunks"])
        self.pieces += 1

    async def drained(self) -> None:
        await self._room.wait()

    def end(self, reason: str) -> None: ...

    def give_room(self) -> None:
        self.behind = False
        self._room.set()

    def take_room(self) -> None:
        self.behind = True
        self._room.clear()

    @property
    def states(self) -> list[str]:
        return [payload["status"] for event, payload in self.events if event == "run"]


class World:
    """One conversation in one process, with what Postgres and Valkey would say."""

    def __init__(self) -> None:
        self.live: defaultdict[Address, set[Subscriber]] = defaultdict(set)
        self.active: list[tuple[str, str]] = []
        self.kept: list[bytes] = []
        self.away = False
        self.may_push = True
        self.typing: list[tuple[str, bool]] = []
        self.reads = 0
        self.runs = LiveRuns(
            self.live,
            active=self._active,
            read=self._read,
            typing=lambda agent_id, on: self.typing.append((agent_id, on)),
            may_push=lambda: self.may_push,
        )

    async def _active(self) -> list[tuple[str, str]]:
        await asyncio.sleep(0.01)
        return self.active

    async def _read(self, run_id: str, after: int) -> list[bytes]:
        self.reads += 1
        found = self.kept[after:] if run_id == RUN else []
        await asyncio.sleep(0.01)
        if self.away:
            raise ValkeyAway
        return found

    def join(self, follower: Follower, *, live: bool = True) -> None:
        for told in orjson.loads(self.runs.follow(follower)):
            follower.to = 0
            follower.take(told)
        if live:
            self.go_live(follower)

    def go_live(self, follower: Follower) -> None:
        self.live[follower].add(follower)
        self.runs.followers.went_live(follower)

    def leave(self, follower: Follower) -> None:
        self.live.pop(follower, None)
        self.runs.followers.leave(follower)

    def say(self, count: int, *, heard: bool = True) -> None:
        """The agent says more; it is kept, and its frame comes or is lost."""
        start = len(self.kept)
        self.kept += [piece(number) for number in range(start, start + count)]
        if heard:
            self.hear(start, start + count)

    def hear(self, start: int, end: int) -> None:
        self.runs.heard(
            {"run_id": RUN, "agent_id": AGENT, "from": start, "chunks": self.kept[start:end]},
        )

    def state(self, status: str, to: int | None = None, run_id: str = RUN, **more: Any) -> None:
        to = len(self.kept) if to is None else to
        frame = {"run_id": run_id, "agent_id": AGENT, "status": status, "to": to}
        self.runs.heard(frame | {"seq": None, "error": None, "retry": False} | more)

    @property
    def text(self) -> str:
        return "".join(f"{number}," for number in range(len(self.kept)))


def piece(number: int) -> bytes:
    return orjson.dumps({"type": "text-delta", "id": "t", "delta": f"{number},"})


def play(script: Callable[[World], Awaitable[None]]) -> None:
    """Run a script against a world of its own, on a clock that jumps."""

    async def main() -> None:
        world = World()
        await script(world)
        world.runs.stop()

    clock.run(main)


ANY = st.integers(0, 40)
ACTS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("repeat"), ANY, ANY),
    st.tuples(st.just("beat"), ANY),
    st.tuples(st.just("join"), st.booleans(), st.booleans()),
    st.tuples(st.just("one"), ANY, st.sampled_from(["go live", "come back", "slow", "room"])),
    st.tuples(st.just("doubt"), st.booleans()),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("wait"), st.floats(0.0, 0.3)),
)


@given(st.lists(ACTS, max_size=40), st.sampled_from([1, 60, 500, 256 * 1024]))
def test_every_follower_gets_each_chunk_once_and_in_order(acts: list[tuple[Any, ...]], size: int) -> None:
    async def script(world: World) -> None:
        followers = [Follower()]
        world.join(followers[0])
        world.state("started")
        for act in acts:
            await do(world, followers, act)
        world.away, world.may_push = False, True
        world.runs.settle()
        for follower in followers:
            follower.give_room()
        world.state("streaming")
        await asyncio.sleep(5)
        for follower in followers:
            assert (follower.to, follower.text) == (len(world.kept), world.text)
        world.state("finished", seq=7)
        await asyncio.sleep(5)
        for follower in followers:
            assert follower.events[-1][1]["status"] == "finished"
            assert len(set(follower.states)) == len(follower.states)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "PIECE_BYTES", size)
        play(script)


async def do(world: World, followers: list[Follower], act: tuple[Any, ...]) -> None:
    """One act of the property test. Whoever leaves comes back as a new follower."""
    match act:
        case "say", count, heard:
            world.say(count, heard=heard)
        case "repeat", *bounds:
            world.hear(*sorted(min(bound, len(world.kept)) for bound in bounds))
        case "beat", to:
            world.state("streaming", min(to, len(world.kept)))
        case "join", room, live:
            followers.append(Follower(room=room))
            world.join(followers[-1], live=live)
        case "one", number, name:
            do_to(world, followers, number % len(followers), name)
        case "doubt", doubt:
            world.may_push = not doubt
            world.runs.settle()
        case "away", away:
            world.away = away
        case "wait", seconds:
            await asyncio.sleep(seconds)


def do_to(world: World, followers: list[Follower], number: int, name: str) -> None:
    """One act that concerns one follower."""
    match name:
        case "go live":
            world.go_live(followers[number])
        case "come back":
            world.leave(followers[number])
            followers[number] = back = Follower()
            world.join(back)
        case "slow":
            followers[number].take_room()
        case "room":
            followers[number].give_room()


def test_a_hole_is_filled_at_once_from_what_is_kept() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.state("started")
        world.say(3)
        world.say(4, heard=False)
        world.say(2)
        assert follower.to == 3
        await asyncio.sleep(0.02)
        assert (follower.to, world.reads) == (9, 1)

    play(script)


def test_a_lost_last_frame_is_found_by_the_beat_and_by_the_end() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.state("started")
        world.say(3, heard=False)
        world.state("streaming")
        await asyncio.sleep(0.02)
        assert follower.to == 3
        world.say(2, heard=False)
        world.state("finished", seq=5)
        assert "finished" not in follower.states
        await asyncio.sleep(0.02)
        assert follower.to == 5
        assert follower.events[-1][1] == {
            "run_id": RUN,
            "agent_id": AGENT,
            "status": "finished",
            "seq": 5,
            "error": None,
            "retry": False,
        }

    play(script)


def test_an_end_does_not_wait_long_for_chunks_that_nobody_has() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.state("started")
        world.say(3)
        world.away = True
        world.state("finished", to=5, seq=5)
        await asyncio.sleep(2)
        assert follower.to == 3
        assert follower.states == ["started", "streaming", "finished"]

    play(script)


def test_a_slow_follower_gets_one_merged_delta_when_it_has_room() -> None:
    async def script(world: World) -> None:
        world.join(slow := Follower())
        world.join(fast := Follower())
        world.state("started")
        world.say(1)
        slow.take_room()
        for _ in range(100):
            world.say(3)
        assert (slow.to, fast.to) == (1, 301)
        slow.give_room()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (slow.to, slow.text, slow.pieces) == (301, world.text, 2)
        assert len(slow.events[-1][1]["chunks"]) == 1
        world.say(1)
        assert slow.to == fast.to == 302
        assert fast.pieces == 102

    play(script)


def test_a_slow_follower_is_told_of_the_end_and_of_nothing_after_it() -> None:
    async def script(world: World) -> None:
        world.join(slow := Follower())
        world.state("started")
        slow.take_room()
        world.say(3)
        world.state("finished", seq=2)
        assert slow.states == ["started", "streaming", "finished"]
        slow.give_room()
        await asyncio.sleep(1)
        assert slow.states == ["started", "streaming", "finished"]
        assert slow.pieces == 0

    play(script)


def test_who_has_room_again_at_the_end_gets_the_rest_before_it() -> None:
    def script_of(room: bool) -> Callable[[World], Awaitable[None]]:
        async def script(world: World) -> None:
            world.join(slow := Follower())
            world.state("started")
            world.say(1)
            slow.take_room()
            world.say(3)
            slow.behind = not room  # and nobody has looked since
            world.state("finished", seq=2)
            assert slow.to == (4 if room else 1)
            assert slow.events[-1][1]["status"] == "finished"

        return script

    play(script_of(True))
    play(script_of(False))


def test_nothing_is_told_while_it_is_not_certain_who_may_read_on() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.may_push = False
        world.state("started")
        world.say(2)
        world.state("finished", seq=2)
        assert follower.events == []
        assert orjson.loads(world.runs.follow(Follower())) == []
        world.may_push = True
        world.runs.settle()
        assert follower.states == ["started", "streaming", "finished"]
        assert (follower.to, follower.text) == (2, world.text)

    play(script)


def test_a_run_that_falls_silent_is_lost_and_one_that_speaks_again_begins_anew() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.state("started")
        world.say(2)
        await asyncio.sleep(SILENCE_SECONDS - 1)
        world.state("streaming")
        await asyncio.sleep(SILENCE_SECONDS - 1)
        assert follower.states == ["started", "streaming"]
        await asyncio.sleep(2)
        assert follower.events[-1][1] == {
            "run_id": RUN,
            "agent_id": AGENT,
            "status": "failed",
            "seq": None,
            "error": "lost",
            "retry": True,
        }
        assert world.typing[-1] == (AGENT, False)
        assert orjson.loads(world.runs.follow(Follower())) == []
        world.say(1)
        await asyncio.sleep(0.1)
        assert follower.states == ["started", "streaming", "failed", "started", "streaming"]
        assert (follower.to, follower.text) == (3, world.text)

    play(script)


def test_late_frames_of_an_ended_run_say_nothing() -> None:
    async def script(world: World) -> None:
        world.join(follower := Follower())
        world.state("started")
        world.say(2)
        world.state("cancelled", seq=3)
        told = len(follower.events)
        world.hear(0, 2)
        world.state("started")
        world.state("cancelled", seq=3)
        for number in range(ENDED_REMEMBERED - 1):
            world.state("finished", 0, f"other-{number}")
        world.state("streaming")
        assert len(follower.events) == told
        assert world.typing == [(AGENT, True), (AGENT, True), (AGENT, False)]

    play(script)


def test_an_agent_types_until_its_last_run_has_ended() -> None:
    async def script(world: World) -> None:
        world.state("started", run_id="one")
        world.state("started", run_id="two")
        world.state("failed", run_id="one", error="no", retry=True)
        assert (AGENT, False) not in world.typing
        world.state("finished", run_id="two")
        assert world.typing[-1] == (AGENT, False)

    play(script)


def test_the_first_to_ask_learns_what_is_under_way_and_nothing_of_meanwhile_is_lost() -> None:
    async def script(world: World) -> None:
        world.active = [(RUN, AGENT)]
        world.say(5, heard=False)
        asking = [asyncio.create_task(world.runs.ready()) for _ in range(3)]
        await asyncio.sleep(0.005)
        world.say(2)
        await asyncio.gather(*asking)
        world.join(follower := Follower())
        assert (follower.to, follower.text) == (7, world.text)
        world.say(1)
        assert (follower.to, follower.text) == (8, world.text)
        world.active = []
        await world.runs.ready()
        assert follower.states == [], "asked once"

    play(script)


def test_a_run_that_ended_before_anybody_listened_does_not_linger() -> None:
    async def script(world: World) -> None:
        world.active = [(RUN, AGENT)]
        await world.runs.ready()
        world.join(follower := Follower())
        assert follower.to == 0
        world.active = []
        await world.runs.learn()
        assert follower.states == ["failed"]

    play(script)


def test_an_end_that_is_heard_while_postgres_is_asked_counts() -> None:
    async def script(world: World) -> None:
        world.active = [(RUN, AGENT)]
        asking = asyncio.create_task(world.runs.ready())
        await asyncio.sleep(0.005)
        world.state("finished", seq=1)
        await asking
        assert orjson.loads(world.runs.follow(Follower())) == []

    play(script)


def test_a_very_long_run_is_told_in_pieces() -> None:
    run = LiveRun(RUN, AGENT, 0.0, status="streaming")
    run.extend(0, [orjson.dumps({"type": "data-x", "data": "y" * 1_000})] * 1_000)
    run.pushed = 1_000
    to, told = run.so_far()
    assert 200 < to < 300
    assert len(told) < 1.1 * live_run.PIECE_BYTES
    assert len(orjson.loads(told)["chunks"]) == to


def test_integers_of_any_length_survive_a_merge() -> None:
    run = LiveRun(RUN, AGENT, 0.0, status="streaming")
    long = 10**30
    run.extend(0, [b'{"type":"data-x","data":%d}' % long])
    run.pushed = 1
    assert str(long).encode() in run.so_far()[1]
    assert str(long).encode() in run.delta(0, 1, merged=True)
