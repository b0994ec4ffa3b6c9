"""Tells whoever follows a conversation of the runs that this dispatcher makes: that they begin, what they stream, how they end.

The frames of a run leave in order. Those of a call that streams nothing go with the process's other frames; chunks are kept
in Valkey and published in one round trip, with everything that came while the last one was under way. While Valkey is away
they wait, bounded by the answers themselves; the agent is read on at its own pace. When it is back, perhaps with nothing in
it, all that was said is kept anew, and the ends that came meanwhile are said more than once: not everyone listens again yet.

Frames are of type `run`: a state (`status`, and `to`, the number of chunks so far), said again every few seconds while the run
lasts, or `chunks` from number `from` on.
"""

import asyncio
import logging
from typing import Final
from uuid import UUID

from runtime.channel_layer import group_of
from runtime.partials import VALKEY_AWAY, Partials
from runtime.publisher import Publisher
from runtime.relayed_run import Run

__all__ = ["Run", "RunRelay"]

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 3.0
"""How often a run that lasts says that it is alive."""

TURN_BYTES: Final = 1024 * 1024
"""Chunks of all runs in one round trip."""

RETRY_SECONDS: Final = 0.5
LAST_WORDS_SECONDS: Final = 1.0
"""How long a stopping relay tries to say what it has not said yet."""

MAX_WAITING: Final = 20_000
"""Runs that may wait for Valkey with their last word; beyond it the oldest go unsaid, and their sockets find out by silence."""


class RunRelay:
    """The runs of one dispatcher process."""

    def __init__(self, publisher: Publisher, partials: Partials) -> None:
        self._publisher = publisher
        self._partials = partials
        self._runs: dict[Run, None] = {}
        self._lasting: list[Run] = []  # those that were there at the last beat
        self._ends: dict[Run, None] = {}  # to be said again
        self._waiting: dict[Run, None] = {}
        self._wake = asyncio.Event()
        self._healthy = True

    def open(self, *, conversation_id: int, run_id: UUID, agent_id: str) -> Run:
        """A call begins. Whoever opens a run ends it, once, however the call ends."""
        run = Run(self, conversation_id, run_id, agent_id)
        self._runs[run] = None
        self._publisher.send(group_of(conversation_id), run.state())
        return run

    def lost(self, *, conversation_id: int, run_id: UUID, agent_id: str, cancelled: bool) -> None:
        """Say that the run of a dispatcher that died is over; what it had said is dropped."""
        run = Run(self, conversation_id, run_id, agent_id)
        if cancelled:
            run.cancelled(None)
        else:
            run.failed("lost", retry=True)

    def waits(self, run: Run) -> None:
        """A run has something to say that goes through Valkey's partials."""
        self._waiting[run] = None
        self._wake.set()

    def ends(self, run: Run) -> None:
        """A run has come to its end."""
        opened_here = run in self._runs
        if opened_here:
            del self._runs[run]
        if opened_here and self._healthy and not run.streams:
            self._publisher.send(group_of(run.conversation_id), run.state())
            self._waiting.pop(run, None)
            return
        if not self._healthy:
            self._bound(run)
        self.waits(run)

    async def run(self) -> None:
        """Say what there is to say, until cancelled; what waits then is said before it returns."""
        beating = asyncio.create_task(self._beat_for_ever(), name="run-beats")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._say_everything()
        finally:
            beating.cancel()
            await self._last_words()

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for run in [run for run in self._lasting if run in self._runs]:
                run.beat()
                self.waits(run)
            self._lasting = list(self._runs)
            for run in [run for run in self._ends if run not in self._waiting]:
                if run.repeats():
                    self.waits(run)
                else:
                    del self._ends[run]

    async def _say_everything(self) -> None:
        while self._waiting:
            try:
                await self._say()
            except VALKEY_AWAY as error:
                self._away(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if not self._healthy:
                    self._back()

    async def _say(self) -> None:
        """One round trip, with all that fits."""
        now = asyncio.get_running_loop().time()
        turns, said, size = [], [], 0
        for run in self._waiting:
            turn, told, added = run.turn(now)
            turns.append(turn)
            said.append(told)
            size += added
            if size >= TURN_BYTES:
                break
        try:
            await self._partials.write(turns)
        except VALKEY_AWAY:
            raise
        except Exception:  # one run that cannot be written must not mute the others
            logger.exception("Runs could not be relayed")
        for told in said:
            self._waiting.pop(told.run, None)
            if told.run.told(told, now):
                self._waiting[told.run] = None

    def _away(self, error: Exception) -> None:
        if self._healthy:
            logger.warning("Valkey cannot be reached; streamed answers wait until it returns: %s", error)
        self._healthy = False
        for run in [run for run in self._waiting if run.ended]:
            self._bound(run)

    def _back(self) -> None:
        self._healthy = True
        for run in self._runs:
            if run.streams:
                run.begin_again()
                self.waits(run)

    def _bound(self, run: Run) -> None:
        """What runs that are over leave behind while Valkey is away is no more than their last word."""
        run.leave_end_only()
        self._ends[run] = None
        if len(self._waiting) >= MAX_WAITING:
            oldest = next((one for one in self._waiting if one.ended), None)
            if oldest is not None:
                del self._waiting[oldest]
                self._ends.pop(oldest, None)

    async def _last_words(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while self._waiting and self._healthy:
                    await self._say()
        except VALKEY_AWAY as error:
            logger.warning("The end of %d runs could not be told: %s", len(self._waiting), error)
