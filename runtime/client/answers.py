"""Waiting for what agents say to lines that came through a pipe: nobody sits there who would know when to stop."""

import asyncio
import contextlib
from typing import Any, Final

SILENCE_SECONDS: Final = 10.0
"""An agent that has not begun to answer by then is not waited for."""

QUIET_SECONDS: Final = 1.0
"""After an answer, this long without another sign of life: what one agent says may make another speak."""

LONGEST_SECONDS: Final = 120.0
"""An answer that is still being written then is not waited for."""

_UNDER_WAY: Final = ("started", "streaming")


class Answers:
    """What the agents of a conversation do, as its follower sees it."""

    def __init__(self, participant_id: str) -> None:
        self._participant_id = participant_id
        self._agents: set[str] = set()
        self._runs: set[str] = set()
        self._newest = 0
        self._sign = asyncio.Event()

    def watch(self, event: str, payload: dict[str, Any]) -> None:
        """Take note of an event of the conversation's topic."""
        if event == "join":
            agents = {member["id"] for member in payload["members"] if member["kind"] == "agent"}
            self._agents = agents - {self._participant_id}
            self._runs = {run["run_id"] for run in payload["runs"]}
        elif event == "run":
            under_way = payload["status"] in _UNDER_WAY
            (self._runs.add if under_way else self._runs.discard)(payload["run_id"])
        else:
            return
        self._sign.set()

    def shown(self, message: dict[str, Any]) -> None:
        """Take note of a message that was shown."""
        if message["sender_id"] in self._agents:
            self._newest = message["seq"]
        self._sign.set()

    async def settle(self, after: int) -> None:
        """Return when agents have answered what was said up to the seq `after` and are quiet, or when they will not.

        Takes at most `LONGEST_SECONDS`, and no time where there are no agents.
        """
        if not self._agents:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SECONDS):
                while await self._stirs(self._patience(after)):
                    pass

    def _patience(self, after: int) -> float | None:
        if self._runs:
            return None
        return QUIET_SECONDS if self._newest > after else SILENCE_SECONDS

    async def _stirs(self, patience: float | None) -> bool:
        """Wait for the next sign of life; False if there was none for so many seconds."""
        self._sign.clear()
        try:
            async with asyncio.timeout(patience):
                await self._sign.wait()
        except TimeoutError:
            return False
        return True
