"""The runs of one conversation that are under way: what agents are saying right now, as one process follows it.

Frames of a dispatcher's relay (`runtime/run_relay.py`) may come late, twice or never. A hole is filled from the partials in
Valkey, and every follower is given each chunk once, in order. None of this has a place in the log: the message that a run
becomes comes as every message does, shortly before the run's end or after it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from runtime.live_run import LiveRun
from runtime.partials import VALKEY_AWAY
from runtime.run_followers import RunFollowers
from runtime.subscriber import Address, Subscriber

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 15.0
"""A run that was not heard of for this long is taken for lost. It begins anew if it was not."""

FETCH_PAUSES: Final = (0.0, 0.05, 0.2, 0.5)
"""Seconds before each try to fill a hole. What is still missing then is asked for when more is heard of its run."""

ENDED_REMEMBERED: Final = 32
"""Ended runs of which late frames are known for what they are."""

LOST: Final[Mapping[str, Any]] = {"status": "failed", "seq": None, "error": "lost", "retry": True}

GOING_ON: Final = frozenset({"started", "streaming"})


class LiveRuns:
    """The runs of one conversation. All of its methods run on the loop; those that tell followers something never await."""

    def __init__(
        self,
        live: Mapping[Address, AbstractSet[Subscriber]],
        *,
        active: Callable[[], Awaitable[Iterable[tuple[Any, str]]]],
        read: Callable[[str, int], Awaitable[list[bytes]]],
        typing: Callable[[str, bool], None],
        may_push: Callable[[], bool],
    ) -> None:
        """What a conversation lends to its runs.

        `live`: who follows it. `active`: Postgres, asked for (run id, agent id) of what is under way. `read`: Valkey, asked for
        the chunks of a run from a number on. `typing`: shows that an agent works. `may_push`: whether it is certain that
        everyone who follows may read on; `settle` is called when it is again.
        """
        self.followers = RunFollowers(live)
        self._active = active
        self._read = read
        self._typing = typing
        self._may_push = may_push
        self._runs: dict[str, LiveRun] = {}
        self._ended: dict[str, None] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._learning = asyncio.Lock()
        self._learned = False

    # Who follows.

    async def ready(self) -> None:
        """Return when this process knows what is under way. Raises one of `DATABASE_AWAY` if it cannot be asked."""
        if not self._learned:
            async with self._learning:
                if not self._learned:
                    await self.learn()

    def follow(self, subscriber: Subscriber) -> bytes:
        """The runs so far, as a JSON array, for a subscriber that is told the rest from this moment on."""
        told, positions = [], {}
        for run in self._runs.values():
            if run.status:  # the others it will be told of like everyone
                positions[run], encoded = run.so_far()
                told.append(encoded)
        self.followers.join(subscriber, positions)
        return b"[" + b",".join(told) + b"]"

    def stop(self) -> None:
        """Stop what runs in the background."""
        self.followers.stop()
        if self._fetching is not None:
            self._fetching.cancel()
        for run in self._runs.values():
            if run.watch is not None:
                run.watch.cancel()
        self._runs.clear()
        self._may_push = _not_any_more

    # What comes in.

    async def learn(self) -> None:
        """Ask Postgres for the runs and Valkey for what they have said. Raises one of `DATABASE_AWAY`."""
        active = {str(run_id): agent_id for run_id, agent_id in await self._active()}
        for run in list(self._runs.values()):
            if not run.heard and run.run_id not in active:
                self._give_up(run)  # it ended before this process could hear of it
        known = [
            self._known(run_id, agent_id) for run_id, agent_id in active.items() if run_id not in self._ended
        ]
        await asyncio.gather(*[self._fill(run) for run in known])
        self._learned = True

    def heard(self, frame: Mapping[str, Any]) -> None:
        """Take a frame of a relay."""
        run_id, status = frame["run_id"], frame.get("status")
        ends = status is not None and status not in GOING_ON
        if run_id in self._ended:
            return
        if ends and run_id not in self._runs:
            self._remember(run_id)
            return
        run = self._known(run_id, frame["agent_id"])
        run.heard, run.heard_at = True, asyncio.get_running_loop().time()
        if status is None:
            run.extend(frame["from"], frame["chunks"])
        else:
            run.known = max(run.known, frame["to"])
        if ends:
            run.end = {name: frame[name] for name in ("status", "seq", "error", "retry")}
        elif status is not None:
            self._typing(run.agent_id, True)
        self._settle(run)

    def _known(self, run_id: str, agent_id: str) -> LiveRun:
        run = self._runs.get(run_id)
        if run is None:
            loop = asyncio.get_running_loop()
            run = self._runs[run_id] = LiveRun(run_id, agent_id, loop.time())
            run.watch = loop.call_later(SILENCE_SECONDS, self._watch, run)
            self._typing(agent_id, True)
        return run

    def _watch(self, run: LiveRun) -> None:
        loop = asyncio.get_running_loop()
        silent_at = run.heard_at + SILENCE_SECONDS
        if silent_at > loop.time():
            run.watch = loop.call_at(silent_at, self._watch, run)
        else:
            logger.warning("Run %s of %s is not heard of any more", run.run_id, run.agent_id)
            self._give_up(run)

    def _give_up(self, run: LiveRun) -> None:
        """Nothing more is waited for: neither its chunks nor, if that has not come, its end."""
        run.end = run.end or LOST
        run.known = len(run.chunks)
        self._settle(run)

    # Holes.

    async def _fill_holes(self) -> None:
        for pause in FETCH_PAUSES:
            await asyncio.sleep(pause)
            for run in self._with_holes():
                await self._fill(run)
            if not self._with_holes():
                return
        for run in self._with_holes():
            if run.end is not None:
                self._give_up(run)  # its message has what is missing here

    def _with_holes(self) -> list[LiveRun]:
        return [run for run in self._runs.values() if run.has_hole]

    async def _fill(self, run: LiveRun) -> None:
        start = len(run.chunks)
        try:
            chunks = await self._read(run.run_id, start)
        except VALKEY_AWAY as error:
            logger.warning("What run %s has said cannot be read: %s", run.run_id, error)
            chunks = []
        if self._runs.get(run.run_id) is run:
            run.extend(start, chunks)
            self._settle(run)

    # What goes out.

    def settle(self) -> None:
        """Tell followers what was held back while it was not certain that all of them may read on."""
        for run in list(self._runs.values()):
            self._settle(run)

    def _settle(self, run: LiveRun) -> None:
        """Tell followers what they do not know of a run yet."""
        if not self._may_push():
            return
        if not run.status:
            run.status = "started"
            self.followers.tell(run.state())
        if run.chunks and run.status == "started":
            run.status = "streaming"
            self.followers.tell(run.state())
        self.followers.push(run)
        if run.has_hole:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fill_holes(), name="run-holes")
        elif run.end is not None:
            self._finish(run, run.end)

    def _finish(self, run: LiveRun, end: Mapping[str, Any]) -> None:
        del self._runs[run.run_id]
        if run.watch is not None:
            run.watch.cancel()
        if end is not LOST:
            self._remember(run.run_id)
        self.followers.end(run, end)
        if not any(other.agent_id == run.agent_id for other in self._runs.values()):
            self._typing(run.agent_id, False)

    def _remember(self, run_id: str) -> None:
        self._ended[run_id] = None
        if len(self._ended) > ENDED_REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _not_any_more() -> bool:
    return False
