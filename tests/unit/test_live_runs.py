"""Whatever frames bring, and however often, every follower is given each chunk of a run once, in order."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import orjson
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


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 5)),
        st.tuples(st.just("say unheard"), st.integers(1, 5)),
        st.tuples(st.just("repeat"), st.integers(0, 40), st.integers(0, 40)),
        st.tuples(st.just("beat"), st.integers(0, 40)),
        st.tuples(st.just("join"), st.booleans(), st.booleans()),
        st.tuples(st.just("go live"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("slow"), st.integers(0, 5)),
        st.tuples(st.just("room"), st.integers(0, 5)),
        st.tuples(st.just("doubt"), st.booleans()),
        st.tuples(st.just("away"), st.booleans()),
        st.tuples(st.just("wait"), st.floats(0.0, 1.0)),
    ),
    max_size=40,
)


@given(ACTS, st.sampled_from([1, 60, 500, 256 * 1024]))
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
            assert (follower.to, follower.text) == (max(len(world.kept), 0), world.text)
        world.state("finished", seq=7)
        await asyncio.sleep(5)
        for follower in followers:
            assert follower.events[-1][1]["status"] == "finished"
            assert len(set(follower.states)) == len(follower.states)

    before, live_run.PIECE_BYTES = live_run.PIECE_BYTES, size  # type: ignore[misc]
    try:
        play(script)
    finally:
        live_run.PIECE_BYTES = before  # type: ignore[misc]


async def do(world: World, followers: list[Follower], act: tuple[Any, ...]) -> None:
    """One act of the property test. A follower that leaves comes back as a new one."""
    name, *values = act
    chosen = followers[values[0] % len(followers)] if name in ("go live", "leave", "slow", "room") else followers[0]
    match name:
        case "say":
            world.say(values[0])
        case "say unheard":
            world.say(values[0], heard=False)
        case "repeat":
            start, end = sorted(min(value, len(world.kept)) for value in values)
            world.hear(start, end)
        case "beat":
            world.state("streaming", min(values[0], len(world.kept)))
        case "join":
            followers.append(Follower(room=values[0]))
            world.join(followers[-1], live=values[1])
        case "go live":
            world.go_live(chosen)
        case "leave":
            world.leave(chosen)
            followers[followers.index(chosen)] = Follower()
            world.join(followers[-1] if len(followers) == 1 else followers[followers.index(chosen)] if chosen in followers else next(f for f in followers if f.to == -1))
        case "slow":
            chosen.take_room()
        case "room":
            chosen.give_room()
        case "doubt":
            world.may_push = values[0]
            if world.may_push:
                world.runs.settle()
        case "away":
            world.away = values[0]
        case "wait":
            await asyncio.sleep(values[0])
