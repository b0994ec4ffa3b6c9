"""What a process tells the others of changed inbox entries: at once when all is quiet, gathered when there is much."""

import asyncio
from typing import Any

from runtime.publisher import Publisher

EVERYONE = "inbox.all"
"""The group that every process follows."""

GATHER_SECONDS = 0.05
"""Hints go out at once, and then together with what has changed within this time: half a tick."""

FEW = 4
"""So many of them go to the groups of those whom they are for; more go to every process, in one frame."""

OF_A_FRAME = 1_000


def group_of(participant_id: str) -> str:
    """The channel layer group of a participant's inbox."""
    return f"inbox.{participant_id}"


class InboxHints:
    """Hints that go out. A frame for each member of each message would cost more than the rest of its publication."""

    def __init__(self, publisher: Publisher, process: str) -> None:
        self._publisher = publisher
        self._process = process
        self._waiting: dict[tuple[str, int], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, participant_ids: list[str], conversation_id: int, seq: int) -> None:
        """The entries of these participants have changed, by the message `seq` or, if 0, by something else."""
        for participant_id in participant_ids:
            pair = (participant_id, conversation_id)
            self._waiting[pair] = max(seq, self._waiting.get(pair, 0))
        if self._timer is None:
            self._gather()

    def add_large(self, conversation_id: int, seq: int) -> None:
        """The entries of all of a large conversation's members have changed."""
        self._send(EVERYONE, {"type": "inbox_large", "conversation": conversation_id, "seq": seq})

    def stop(self) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._send_all()

    def _gather(self) -> None:
        """Send what has changed, and look again after a while unless nothing had."""
        self._timer = None
        if self._waiting:
            self._send_all()
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._gather)

    def _send_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        hints = [(participant_id, one, seq) for (participant_id, one), seq in waiting.items()]
        if len(hints) <= FEW:
            for hint in hints:
                self._send(group_of(hint[0]), {"type": "inbox", "hints": [hint]})
            return
        for start in range(0, len(hints), OF_A_FRAME):
            self._send(EVERYONE, {"type": "inbox", "hints": hints[start : start + OF_A_FRAME]})

    def _send(self, group: str, message: dict[str, Any]) -> None:
        message["process"] = self._process
        self._publisher.send(group, message)
