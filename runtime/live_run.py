"""One run as one process follows it: what its agent has said so far, in numbered chunks. Pure but for its timer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Any, Final

import msgspec
import orjson

from agents.chunks import Chunk, merge

PIECE_BYTES: Final = 256 * 1024
"""Chunks of one delta before they are merged; one chunk may be larger."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """One run. Chunks are kept as they came, encoded; their numbers begin with 0."""

    run_id: str
    agent_id: str
    heard_at: float
    heard: bool = False  # of its dispatcher; if not, only Postgres has told of it
    chunks: list[bytes] = field(default_factory=list)
    known: int = 0  # so many chunks there are, somewhere
    pushed: int = 0  # so many its followers have been given
    status: str = ""  # as its followers know it; empty: they do not
    end: Mapping[str, Any] | None = None
    watch: asyncio.TimerHandle | None = None
    _merged: list[Chunk] = field(default_factory=list)
    _merged_to: int = 0

    @property
    def has_hole(self) -> bool:
        """Whether there are chunks that have not come here."""
        return self.known > len(self.chunks)

    def extend(self, start: int, chunks: Sequence[bytes]) -> None:
        """Take chunks from number `start` on: those that are next, not those that are known or come after a hole."""
        have = len(self.chunks)
        if start <= have:
            self.chunks += chunks[have - start :]
        self.known = max(self.known, start + len(chunks))

    def cut(self, start: int, end: int) -> int:
        """Where a delta that begins at `start` ends: at `end`, or before it where it would be too large."""
        sizes = accumulate(len(chunk) for chunk in islice(self.chunks, start, end))
        return min(end, start + max(1, sum(size <= PIECE_BYTES for size in sizes)))

    def delta(self, start: int, end: int, *, merged: bool) -> bytes:
        """The payload of a `delta` of these chunks, as they came or fewer."""
        if merged:
            chunks = encode(merge(map(msgspec.json.decode, self.chunks[start:end])))
        else:
            chunks = b"[" + b",".join(self.chunks[start:end]) + b"]"
        return b'{"run_id":"%b","from":%d,"to":%d,"chunks":%b}' % (self.run_id.encode(), start, end, chunks)

    def state(self) -> bytes:
        """The payload of a `run` while it goes on."""
        return self._told({"status": self.status, "seq": None, "error": None, "retry": False})

    def ending(self, end: Mapping[str, Any]) -> bytes:
        """The payload of a `run` at its end."""
        return self._told(end)

    def _told(self, state: Mapping[str, Any]) -> bytes:
        return orjson.dumps({"run_id": self.run_id, "agent_id": self.agent_id, **state})

    def so_far(self) -> tuple[int, bytes]:
        """What a newcomer is told of it, and up to which number: all that has been pushed, unless that is very large."""
        self._merged = merge(
            [*self._merged, *map(msgspec.json.decode, self.chunks[self._merged_to : self.pushed])]
        )
        self._merged_to = to = self.pushed
        chunks = encode(self._merged)
        if len(chunks) > PIECE_BYTES:
            to = self.cut(0, self.pushed)
            chunks = encode(merge(map(msgspec.json.decode, self.chunks[:to])))
        return to, snapshot(self.run_id, self.agent_id, self.status, to, chunks)


def snapshot(run_id: str, agent_id: str, status: str, to: int, chunks: bytes) -> bytes:
    """A run so far, as joins, event streams and REST show it; `chunks` is JSON."""
    rest = orjson.dumps({"run_id": run_id, "agent_id": agent_id, "status": status, "to": to})
    return rest[:-1] + b',"chunks":' + chunks + b"}"


def encode(value: Any) -> bytes:
    """JSON of chunks; their integers may be longer than 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return msgspec.json.encode(value)
