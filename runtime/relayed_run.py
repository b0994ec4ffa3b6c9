"""One run as the dispatcher that makes it relays it: what is said of it, and how far that has come. See `run_relay.py`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, takewhile
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from agents.chunks import Chunk
from runtime.live_run import encode
from runtime.partials import KEPT_ENDED_SECONDS, KEPT_SECONDS, Turn

if TYPE_CHECKING:
    from runtime.run_relay import RunRelay

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 64 * 1024
"""Chunks of one frame; one chunk may be larger."""

CHUNK_BYTES: Final = 256 * 1024
"""A chunk that is larger is not shown live: no socket could take it. If it is to be kept, its message has it."""

END_REPEATS: Final = 2
"""How often the end of a run that ended while Valkey was away is said again, once with each beat."""

ERROR_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What a turn says of a run."""

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
        self._chunks: list[bytes] = []
        self._kept = 0  # so many of them are in Valkey
        self._keep_again_at = 0.0
        self._beat = False
        self._repeats = 0
        self._end: dict[str, Any] | None = None

    @property
    def streams(self) -> bool:
        """Whether it has said anything yet."""
        return bool(self._chunks)

    @property
    def ended(self) -> bool:
        """Whether it is over, though that may not be said yet."""
        return self._end is not None

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Relay what the agent has said. The first call makes the run a streaming one."""
        if self._end is not None:
            return
        try:
            encoded = [encode(chunk) for chunk in chunks]
            self._chunks += [chunk for chunk in encoded if len(chunk) <= CHUNK_BYTES]
        except Exception:  # the answer itself is not touched by it
            logger.exception("Chunks of run %s cannot be relayed", self.run_id)
        if self._chunks:
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
        """Say with the next turn how it stands."""
        self._beat = True

    def begin_again(self) -> None:
        """Keep everything anew: Valkey may have forgotten it."""
        self._kept = 0
        self._keep_again_at = 0.0

    def leave_end_only(self) -> None:
        """It ended while Valkey was away: the message has what was not relayed, and its end is said again later."""
        self._chunks = []
        self._repeats = END_REPEATS

    def repeats(self) -> bool:
        """Whether its end is to be said once more."""
        self._repeats -= 1
        return self._repeats >= 0

    def turn(self, now: float) -> tuple[Turn, Told, int]:
        """What there is to say, what that covers, and its bytes."""
        sizes = accumulate(len(chunk) for chunk in islice(self._chunks, self._kept, None))
        count = max(1, sum(1 for _ in takewhile(lambda size: size <= FRAME_BYTES, sizes)))
        chunks = self._chunks[self._kept : self._kept + count]
        end = self._end is not None and self._kept + len(chunks) >= len(self._chunks)
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
        return turn, Told(self, len(chunks), self._beat, end), sum(map(len, chunks))

    def told(self, told: Told, now: float) -> bool:
        """This was said; returns whether there is more."""
        if told.chunks:
            self._kept += told.chunks
            if now >= self._keep_again_at:
                self._keep_again_at = now + KEPT_SECONDS / 4
        if told.beat:
            self._beat = False
        return len(self._chunks) > self._kept or self._beat or (self._end is not None and not told.end)

    def _frame(self, fields: dict[str, Any]) -> dict[str, Any]:
        frame = {
            "type": "run",
            "conversation": self.conversation_id,
            "run_id": self.run_id,
            "agent_id": self._agent_id,
        }
        return frame | fields
