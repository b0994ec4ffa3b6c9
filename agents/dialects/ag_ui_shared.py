"""What an AG-UI agent shares besides words: its state, its activities, its subagents, and events of its own.

All of it becomes data. Of a state or activity that changes bit by bit, the changes are seen (`data-state-delta`,
`data-activity-delta`) and only what they come to in the end is kept.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from agents.chunks import Chunk
from agents.dialects.json_patch import Document, PatchFailed
from agents.errors import AnswerInvalid

STATE: Final = "data-state"
ACTIVITY: Final = "data-activity"

Event = dict[str, Any]


class Shared:
    """Follows what is shared. `state` is what the run was started with: deltas build on it."""

    def __init__(self, state: Any) -> None:
        self._state = Document({} if state is None else state)
        self._state_changed = False
        self._activities: dict[str, tuple[str, Document]] = {}
        self._changed_activities: set[str] = set()

    def results(self) -> list[Chunk]:
        """What deltas have made of the state and the activities."""
        changed: list[tuple[Document, Callable[[Any], Chunk]]] = []
        if self._state_changed:
            changed.append((self._state, _state))
        for own_id in sorted(self._changed_activities):
            kind, document = self._activities[own_id]
            changed.append((document, partial(_activity, own_id, kind)))
        found = []
        for document, chunk in changed:
            with suppress(PatchFailed):
                found.append(chunk(document.value))
        return found

    def _state_snapshot(self, event: Event) -> list[Chunk]:
        self._state, self._state_changed = _document(event.get("snapshot")), False
        return [_state(event.get("snapshot"))]

    def _state_delta(self, event: Event) -> list[Chunk]:
        self._state_changed = _follow(self._state, event.get("delta")) or self._state_changed
        return [{"type": f"{STATE}-delta", "data": event.get("delta"), "transient": True}]

    def _activity_snapshot(self, event: Event) -> list[Chunk]:
        own_id, kind = string(event, "messageId"), string(event, "activityType")
        if event.get("replace") is False and own_id in self._activities:
            return []
        self._activities[own_id] = (kind, _document(event.get("content")))
        return [_activity(own_id, kind, event.get("content"))]

    def _activity_delta(self, event: Event) -> list[Chunk]:
        own_id, kind = string(event, "messageId"), string(event, "activityType")
        if own_id in self._activities and _follow(self._activities[own_id][1], event.get("patch")):
            self._changed_activities.add(own_id)
        data = {"activityType": kind, "patch": event.get("patch")}
        return [{"type": f"{ACTIVITY}-delta", "id": own_id, "data": data, "transient": True}]

    def _custom(self, event: Event) -> list[Chunk]:
        return [{"type": f"data-{string(event, 'name')}", "data": event.get("value")}]

    def _subagent_started(self, event: Event) -> list[Chunk]:
        return [_subagent(event, "running")]

    def _subagent_finished(self, event: Event) -> list[Chunk]:
        return [_subagent(event, "finished")]

    def _subagent_failed(self, event: Event) -> list[Chunk]:
        return [_subagent(event, "failed")]


SHARING: Final[Mapping[str, Callable[[Shared, Event], list[Chunk]]]] = {
    "STATE_SNAPSHOT": Shared._state_snapshot,
    "STATE_DELTA": Shared._state_delta,
    "ACTIVITY_SNAPSHOT": Shared._activity_snapshot,
    "ACTIVITY_DELTA": Shared._activity_delta,
    "CUSTOM": Shared._custom,
    "SUBAGENT_STARTED": Shared._subagent_started,
    "SUBAGENT_FINISHED": Shared._subagent_finished,
    "SUBAGENT_ERROR": Shared._subagent_failed,
}
"""What is done with each event that shares something. They may come amid a message and do not end it."""


def string(holder: Any, name: str) -> str:
    """A field that has to be a string; raises `AnswerInvalid`."""
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, str):
        kind = holder.get("type", "The event") if isinstance(holder, dict) else "The event"
        raise AnswerInvalid(f"{kind}: {name} must be a string.")
    return value


def _state(value: Any) -> Chunk:
    return {"type": STATE, "id": "state", "data": value}


def _activity(own_id: str, kind: str, content: Any) -> Chunk:
    return {"type": ACTIVITY, "id": own_id, "data": {"activityType": kind, "content": content}}


def _subagent(event: Event, status: str) -> Chunk:
    told = {name: event[name] for name in ("name", "description", "message", "result") if name in event}
    return {"type": "data-subagent", "id": string(event, "subagentRunId"), "data": told | {"status": status}}


def _follow(document: Document, patch: Any) -> bool:
    # As AG-UI's own client does: a patch that does not fit is the agent's mistake, and no reason to lose its words.
    try:
        document.apply(patch)
    except PatchFailed:
        return False
    return bool(patch)


def _document(value: Any) -> Document:
    try:
        return Document(value)
    except TypeError:
        raise AnswerInvalid("The answer's JSON nests too deep.") from None
