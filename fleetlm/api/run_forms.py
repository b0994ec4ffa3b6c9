"""The answers of `/api/conversations/{key}/runs`; see `fleetlm.api.forms`."""

from typing import Any, Literal

import msgspec

from fleetlm.api.forms import Answer


class RunAnswer(Answer):
    """A run that is under way: chunks 0 up to `to`, neighbouring deltas merged."""

    run_id: str
    agent_id: str
    status: Literal["started", "streaming"]
    to: int
    chunks: list[dict[str, Any]]


class RunsAnswer(Answer):
    """The runs that are under way in a conversation."""

    runs: list[RunAnswer]


class RunCancelledAnswer(Answer):
    """The run that has been told to end; it may have ended by itself meanwhile."""

    run_id: str


ALL: list[type[msgspec.Struct]] = [RunAnswer, RunsAnswer, RunCancelledAnswer]
