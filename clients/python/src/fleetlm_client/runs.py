"""What agents are saying: runs, known from their `started` or from a join until their end. Pure.

See "Runs" in the documentation of the socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .chunks import merge, missing, said_in, text_of
from .events import DeltaEvent, RunEvent
from .records import Run


class Gap(Exception):
    """Something is missing before this; a join brings it."""


class Runs:
    """The runs of a conversation that are under way."""

    def __init__(self) -> None:
        self._live: dict[str, Run] = {}

    @property
    def live(self) -> tuple[Run, ...]:
        """Those under way, oldest first."""
        return tuple(self._live.values())

    def join(self, states: Sequence[Mapping[str, Any]]) -> list[RunEvent | DeltaEvent]:
        """A join replaces all that was known. Told are the runs that are new or over, and what was missed of the others."""
        before, self._live = self._live, {}
        told: list[RunEvent | DeltaEvent] = []
        for state in states:
            run = _grown(_begun(state), state["to"], state["chunks"])
            self._live[run.run_id] = run
            known = before.pop(run.run_id, None)
            if known is None or known.to > run.to:
                told.append(RunEvent(run))
            elif run.to > known.to:
                told.append(_delta(run, missing(known.chunks, run.chunks), known.to))
        told += [RunEvent(replace(run, status="finished")) for run in before.values()]
        return told

    def change(self, payload: Mapping[str, Any]) -> RunEvent:
        """A `run` event."""
        known = self._live.get(payload["run_id"])
        if known is None or payload["status"] == "started":
            known = _begun(payload)
        run = replace(
            known,
            status=payload["status"],
            seq=payload.get("seq"),
            error=payload.get("error"),
            retry=bool(payload.get("retry")),
        )
        if run.live:
            self._live[run.run_id] = run
        else:
            self._live.pop(run.run_id, None)
        return RunEvent(run)

    def grow(self, payload: Mapping[str, Any]) -> DeltaEvent | None:
        """A `delta`; None if it says nothing new, or is of a run that is over. Raises `Gap`."""
        known = self._live.get(payload["run_id"])
        if known is None or payload["to"] <= known.to:
            return None
        if payload["from"] != known.to:
            raise Gap
        run = _grown(known, payload["to"], payload["chunks"])
        self._live[run.run_id] = run
        return _delta(run, tuple(payload["chunks"]), known.to)


def _begun(state: Mapping[str, Any]) -> Run:
    return Run(run_id=state["run_id"], agent_id=state["agent_id"], status=state["status"])


def _grown(run: Run, to: int, more: Sequence[Mapping[str, Any]]) -> Run:
    chunks = merge(run.chunks, more)
    return replace(run, chunks=chunks, text=text_of(chunks), to=to)


def _delta(run: Run, chunks: Sequence[Mapping[str, Any]], start: int) -> DeltaEvent:
    return DeltaEvent(run=run, chunks=chunks, start=start, to=run.to, text=said_in(chunks))
