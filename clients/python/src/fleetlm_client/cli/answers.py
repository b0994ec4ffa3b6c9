"""Waiting for what agents say to a program's lines: nobody sits there who would know when to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from fleetlm_client.records import Member, Run


@dataclass(frozen=True)
class Patience:
    """How long agents are waited for, in seconds."""

    silence: float = 10.0
    """An agent that has not begun to answer by then is not waited for."""
    quiet: float = 1.0
    """After an answer, this long without another sign of life: what one agent says may make another speak."""
    longest: float = 120.0
    """An answer that is still being written then is not waited for."""


class Answers:
    """What the agents of a conversation do, as its follower sees it."""

    def __init__(self, participant_id: str, patience: Patience = Patience()) -> None:  # frozen
        self._participant_id = participant_id
        self._patience = patience
        self._agents: set[str] = set()
        self._runs: set[str] = set()
        self._newest = 0
        self._sign = asyncio.Event()

    def joined(self, members: Iterable[Member], runs: Iterable[Run]) -> None:
        """Take note of who is there, and of the runs that are under way."""
        agents = {member.id for member in members if member.kind == "agent"}
        self._agents = agents - {self._participant_id}
        self._runs = {run.run_id for run in runs if run.live}
        self._sign.set()

    def run(self, run: Run) -> None:
        """Take note of what an agent does."""
        (self._runs.add if run.live else self._runs.discard)(run.run_id)
        self._sign.set()

    def shown(self, sender_id: str, seq: int) -> None:
        """Take note of a message that was shown."""
        if sender_id in self._agents:
            self._newest = seq
        self._sign.set()

    async def settle(self, after: int) -> bool:
        """Return when agents have answered what was said up to the seq `after` and are quiet, or when they will not.

        Takes at most `Patience.longest`, and no time where there are no agents. Whether one has answered.
        """
        if self._agents:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._quiet(after), self._patience.longest)
        return self._newest > after

    async def _quiet(self, after: int) -> None:
        while await self._stirs(self._wait(after)):
            pass

    def _wait(self, after: int) -> float | None:
        if self._runs:
            return None
        return self._patience.quiet if self._newest > after else self._patience.silence

    async def _stirs(self, seconds: float | None) -> bool:
        """Wait for the next sign of life; False if there was none for so many seconds."""
        self._sign.clear()
        try:
            await asyncio.wait_for(self._sign.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True
