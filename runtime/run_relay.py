"""Tells whoever follows a conversation of the runs that this dispatcher makes: that they begin, what they stream, how they end.

The frames of a run leave in order. Those of a call that streams nothing go with the process's other frames; chunks are kept
in Valkey and published in one round trip, with everything that came while the last one was under way. While Valkey is away
they wait, bounded by the answers themselves; the agent is read on at its own pace.

Frames are of type `run`: a state (`status`, and `to`, the number of chunks so far), said again every few seconds while the run
lasts, or `chunks` from number `from` on.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final
from uuid import UUID

import msgspec
import orjson

from agents.chunks import Chunk
from runtime.channel_layer import group_of
from runtime.partials import KEPT_ENDED_SECONDS, KEPT_SECONDS, VALKEY_AWAY, Partials, Turn
from runtime.publisher import Publisher

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 3.0
"""How often a run that lasts says that it is alive."""

FRAME_BYTES: Final = 64 * 1024
"""Chunks of one frame; one chunk may be larger."""

TURN_BYTES: Final = 1024 * 1024
"""Chunks of all runs in one round trip."""

RETRY_SECONDS: Final = 0.5
LAST_WORDS_SECONDS: Final = 1.0
"""How long a stopping relay tries to say what it has not said yet."""

MAX_WAITING: Final = 20_000
"""Runs that may wait for Valkey with their last word; beyond it the oldest go unsaid, and their sockets find out by silence."""

ERROR_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class _Told:
    """What a turn says of a run, to be forgotten once it is said."""

    run: "Run"
    chunks: int
    beat: bool
    end: bool


class Run:
    """One call that is under way. Nothing here blocks, and nothing raises."""

    def __init__(self, relay: "RunRelay", conversation_id: int, run_id: UUID, agent_id: str) -> None:
        self.conversation_id = conversation_id
        self.run_id = str(run_id)
        self._agent_id = agent_id
        self._relay = relay
        self._kept = 0  # chunks that are in Valkey
        self._unsent: list[bytes] = []
        self._keep_again_at = 0.0
        self._beat = False
        self._end: dict[str, Any] | None = None

    @property
    def streams(self) -> bool:
        """Whether it has said anything yet."""
        return bool(self._kept or self._unsent)

    @property
    def ended(self) -> bool:
        """Whether it is over, though that may not be said yet."""
        return self._end is not None

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Relay what the agent has said. The first call makes the run a streaming one."""
        if self._end is not None:
            return
        try:
            self._unsent += [_encode(chunk) for chunk in chunks]
        except Exception:  # the answer itself is not touched by it
            logger.exception("Chunks of run %s cannot be relayed", self.run_id)
        if self._unsent:
            self._relay.waits(self)

    def finished(self, seq: int | None) -> None:
        """Its answer is stored; `seq` is the last message's, None if there is none."""
        self._over("finished", seq=seq)

    def failed(self, error: str, *, retry: bool) -> None:
        """It brought no answer; `retry`: the call will be made again, as another run."""
        self._over("failed", error=error[:ERROR_CHARACTERS], retry=retry)

    def cancelled(self, seq: int | None) -> None:
        """Someone has ended it; `seq` is that of the message that keeps what it had said."""
        self._over("cancelled", seq=seq)

    def _over(
        self, status: str, *, seq: int | None = None, error: str | None = None, retry: bool = False
    ) -> None:
        if self._end is None:
            self._end = {"status": status, "seq": seq, "error": error, "retry": retry}
            self._relay.ends(self)

    # What the relay asks.

    def state(self) -> dict[str, Any]:
        """A frame that says how it stands."""
        status = "streaming" if self._kept else "started"
        return self._frame({"status": status, "to": self._kept} | (self._end or {}))

    def beat(self) -> None:
        """Say with the next turn that it lasts."""
        self._beat = True

    def give_up_chunks(self) -> None:
        """Do not relay what is unsent of a run that is over: the message has it."""
        self._unsent.clear()

    def turn(self, now: float) -> tuple[Turn, _Told, int]:
        """What there is to say, what that covers, and its bytes."""
        sizes = accumulate(len(chunk) for chunk in self._unsent)
        chunks = self._unsent[: max(1, sum(size <= FRAME_BYTES for size in sizes))]
        end = self._end is not None and len(chunks) == len(self._unsent)
        keep: int | None = KEPT_SECONDS if chunks and now >= self._keep_again_at else None
        frames = []
        if chunks:
            frames.append(self._frame({"from": self._kept, "chunks": chunks}))
        if end:
            keep = KEPT_ENDED_SECONDS
            frames.append(self.state() | {"to": self._kept + len(chunks)})
        elif self._beat and not chunks:
            frames.append(self.state())
        turn = Turn(self.conversation_id, self.run_id, self._kept, chunks, keep, frames)
        return turn, _Told(self, len(chunks), self._beat, end), sum(map(len, chunks))

    def told(self, told: _Told, now: float) -> bool:
        """This was said; returns whether there is more."""
        if told.chunks:
            del self._unsent[: told.chunks]
            self._kept += told.chunks
            if now >= self._keep_again_at:
                self._keep_again_at = now + KEPT_SECONDS / 4
        if told.beat:
            self._beat = False
        return bool(self._unsent or self._beat or (self._end is not None and not told.end))

    def _frame(self, fields: dict[str, Any]) -> dict[str, Any]:
        frame = {
            "type": "run",
            "conversation": self.conversation_id,
            "run_id": self.run_id,
            "agent_id": self._agent_id,
        }
        return frame | fields


class RunRelay:
    """The runs of one dispatcher process."""

    def __init__(self, publisher: Publisher, partials: Partials) -> None:
        self._publisher = publisher
        self._partials = partials
        self._runs: dict[Run, None] = {}
        self._lasting: list[Run] = []  # those that were there at the last beat
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

    async def _say_everything(self) -> None:
        while self._waiting:
            try:
                await self._say()
            except VALKEY_AWAY as error:
                self._away(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._healthy = True

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

    def _bound(self, run: Run) -> None:
        """What runs that are over leave behind while Valkey is away is no more than their last word."""
        run.give_up_chunks()
        if len(self._waiting) >= MAX_WAITING:
            oldest = next((one for one in self._waiting if one.ended), None)
            if oldest is not None:
                del self._waiting[oldest]

    async def _last_words(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while self._waiting and self._healthy:
                    await self._say()
        except VALKEY_AWAY as error:
            logger.warning("The end of %d runs could not be told: %s", len(self._waiting), error)


def _encode(chunk: Chunk) -> bytes:
    try:
        return orjson.dumps(chunk)
    except TypeError:  # an integer of more than 64 bits
        return msgspec.json.encode(chunk)
