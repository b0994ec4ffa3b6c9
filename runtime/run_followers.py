"""Who is told of the runs of a conversation, and how far each is.

Followers are at the newest chunk, and get the same bytes, unless they have much unsent. Those are left alone until there is
room, and then get what they have missed as merged deltas: what waits for them is a number, however long it waits.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from observability import metrics
from runtime.live_run import LiveRun
from runtime.subscriber import Address, Subscriber

ROOM_PAUSE: Final = 0.05
"""Seconds until a follower is looked at again that said it had room but has not."""


@dataclass(slots=True)
class _Lag:
    """The runs in which a follower is behind, and up to where it has them."""

    positions: dict[LiveRun, int]
    task: asyncio.Task[None] | None = None


class RunFollowers:
    """The followers of one conversation's runs: its live subscribers, and those that have their reply and still replay."""

    def __init__(self, live: Mapping[Address, AbstractSet[Subscriber]]) -> None:
        self._live = live
        self._early: set[Subscriber] = set()
        self._lagging: dict[Subscriber, _Lag] = {}

    def join(self, subscriber: Subscriber, positions: Mapping[LiveRun, int]) -> None:
        """From now on it is told of runs; it has been given these, up to these numbers."""
        self._early.add(subscriber)
        for run, position in positions.items():
            if position < run.pushed:
                self._lag(subscriber, run, position)

    def went_live(self, subscriber: Subscriber) -> None:
        """It is one of the live ones now."""
        self._early.discard(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """It is told no more."""
        self._early.discard(subscriber)
        lag = self._lagging.pop(subscriber, None)
        if lag is not None and lag.task is not None:
            lag.task.cancel()

    def stop(self) -> None:
        """Forget everyone."""
        for subscriber in list(self._lagging):
            self.leave(subscriber)
        self._early.clear()

    def tell(self, payload: bytes) -> None:
        """Say how a run stands."""
        count = 0
        for address, subscribers in self._everyone():
            frame = address.frame("run", payload, None)
            for subscriber in subscribers:
                subscriber.write(frame)
                count += 1
        metrics.FRAMES_SENT.inc(count)

    def push(self, run: LiveRun) -> None:
        """Give what is new of a run to all who have kept up."""
        while run.pushed < len(run.chunks):
            start = run.pushed
            run.pushed = run.cut(start, len(run.chunks))
            self._push(run, start, run.delta(start, run.pushed, merged=False))

    def _push(self, run: LiveRun, start: int, payload: bytes) -> None:
        count = 0
        for address, subscribers in self._everyone():
            frame = None
            for subscriber in subscribers:
                if self._left_alone(subscriber, run, start):
                    continue
                frame = frame or address.frame("delta", payload, None)
                subscriber.write(frame)
                count += 1
        metrics.FRAMES_SENT.inc(count)

    def end(self, run: LiveRun, end: Mapping[str, Any]) -> None:
        """A run is over. Who is behind gets the rest if there is room for it now; its message has it all anyway."""
        for subscriber, lag in list(self._lagging.items()):
            position = lag.positions.pop(run, None)
            while position is not None and position < run.pushed and not subscriber.behind:
                position = self._write_missed(subscriber, run, position)
        self.tell(run.ending(end))

    def _everyone(self) -> Iterator[tuple[Address, Iterable[Subscriber]]]:
        yield from self._live.items()
        for subscriber in self._early:
            yield subscriber.address, (subscriber,)

    # Those that are behind.

    def _left_alone(self, subscriber: Subscriber, run: LiveRun, start: int) -> bool:
        lag = self._lagging.get(subscriber)
        if lag is not None and run in lag.positions:
            return True
        if not subscriber.behind:
            return False
        self._lag(subscriber, run, start)
        return True

    def _lag(self, subscriber: Subscriber, run: LiveRun, position: int) -> None:
        lag = self._lagging.get(subscriber)
        if lag is None:
            lag = self._lagging[subscriber] = _Lag({})
            lag.task = asyncio.create_task(self._bring_on(subscriber, lag), name="run-lag")
        lag.positions[run] = position

    async def _bring_on(self, subscriber: Subscriber, lag: _Lag) -> None:
        """Give a follower what it has missed, whenever it has room.

        Between the last piece and the end of this nothing is awaited: what comes next finds it among the others.
        """
        while lag.positions:
            await subscriber.drained()
            if subscriber.behind:
                await asyncio.sleep(ROOM_PAUSE)
            elif lag.positions:  # its runs may have ended meanwhile
                self._write_piece(subscriber, lag)
        if self._lagging.get(subscriber) is lag:
            del self._lagging[subscriber]

    def _write_piece(self, subscriber: Subscriber, lag: _Lag) -> None:
        run, position = next(iter(lag.positions.items()))
        lag.positions[run] = self._write_missed(subscriber, run, position)
        if lag.positions[run] >= run.pushed:
            del lag.positions[run]

    def _write_missed(self, subscriber: Subscriber, run: LiveRun, start: int) -> int:
        end = run.cut(start, run.pushed)
        subscriber.write(subscriber.address.frame("delta", run.delta(start, end, merged=True), None))
        metrics.FRAMES_SENT.inc()
        return end
