"""How far somebody has come in a log: the cursor (epoch, seq). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Log:
    """The place of one reader, who is given each seq once, in order."""

    seq: int | None = None
    """The last one that was given; None: the beginning is not settled yet."""
    epoch: str | None = None

    def is_another(self, epoch: str) -> bool:
        """Whether a log with this epoch is not the one that was read so far."""
        return self.seq is not None and self.epoch is not None and epoch != self.epoch

    def begin(self, epoch: str, seq: int) -> None:
        """What comes after this seq is next."""
        self.epoch, self.seq = epoch, seq

    def forget(self) -> None:
        """Begin anew."""
        self.epoch = self.seq = None

    def take(self, seq: int) -> Literal["next", "old", "gap"]:
        """What a message with this seq is: the `next` one, which is then given; `old`; or one before which there is a `gap`."""
        if self.seq is None or seq > self.seq + 1:
            return "gap"
        if seq <= self.seq:
            return "old"
        self.seq = seq
        return "next"
