"""Reads streams of AG-UI events: of protocol 1.0, and the events of 0.x that 1.0 has renamed.

https://docs.ag-ui.com/concepts/events. Not read: RAW, the marks around reasoning, encrypted values, and whatever a later
version adds.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from agents.chunks import Chunk
from agents.dialects import payloads
from agents.dialects.ag_ui_shared import SHARING, Event, Shared, string
from agents.dialects.tools import input_chunk
from agents.errors import AgentFailed, AnswerInvalid

ERROR_CHARACTERS: Final = 500


class Events:
    """See `agents.dialects.readers.Translator`. `state` is what the run was started with."""

    def __init__(self, state: Any = None) -> None:
        self.done = False
        self._ignored: set[str] = set()  # messages of other roles, which the agent only repeats
        self._shorthand: tuple[str, str] | None = None  # what *_CHUNK events have opened: its kind and id
        self._tools: dict[str, tuple[str, list[str]]] = {}  # whose input is not complete: name and pieces
        self._thoughts = 0
        self._spoke = False
        self._snapshot: list[Any] = []
        self._shared = Shared(state)

    def translate(self, payload: str) -> list[Chunk]:
        """The chunks of one event. Raises `AgentFailed` for RUN_ERROR."""
        event = payloads.load(payload)
        if not isinstance(event, dict) or not isinstance(kind := event.get("type"), str):
            raise AnswerInvalid("A part of the stream is not an object with a type.")
        sharing = SHARING.get(kind)
        if sharing is not None:
            return sharing(self._shared, event)
        handler = _HANDLERS.get(kind)
        if handler is None:
            return []
        found = [] if kind in _LEAVES_OPEN else self._close_shorthand()
        return found + handler(self, event)

    def end(self) -> list[Chunk]:
        """Nothing: only RUN_FINISHED ends a run."""
        return []

    # The run

    def _run_started(self, _: Event) -> list[Chunk]:
        return [{"type": "start"}]

    def _run_finished(self, event: Event) -> list[Chunk]:
        self.done = True
        found = self._open_inputs()
        if not self._spoke:
            found += self._snapshot_answer()
        found += self._shared.results()
        if event.get("result") is not None:
            found.append({"type": "data-result", "data": event["result"]})
        if isinstance(event.get("usage"), list):
            found.append({"type": "message-metadata", "messageMetadata": {"usage": event["usage"]}})
        return found + _outcome(event.get("outcome"))

    def _run_error(self, event: Event) -> list[Chunk]:
        text, code = event.get("message"), event.get("code")
        text = text if isinstance(text, str) and text else "The agent reported an error."
        raise AgentFailed((f"{text} ({code})" if isinstance(code, str) and code else text)[:ERROR_CHARACTERS])

    def _step_started(self, _: Event) -> list[Chunk]:
        return [{"type": "start-step"}]

    def _step_finished(self, _: Event) -> list[Chunk]:
        return [{"type": "finish-step"}]

    # Text and reasoning

    def _text_start(self, event: Event) -> list[Chunk]:
        message_id = string(event, "messageId")
        if event.get("role", "assistant") not in ("assistant", None):
            self._ignored.add(message_id)
            return []
        self._spoke = True
        return [{"type": "text-start", "id": message_id}]

    def _text_content(self, event: Event) -> list[Chunk]:
        return self._delta("text-delta", event)

    def _text_end(self, event: Event) -> list[Chunk]:
        message_id = string(event, "messageId")
        return [] if message_id in self._ignored else [{"type": "text-end", "id": message_id}]

    def _text_chunk(self, event: Event) -> list[Chunk]:
        found = self._shorthand_for("text", event.get("messageId"), event, self._text_start)
        return found + self._shorthand_delta("text-delta", event)

    def _reasoning_start(self, event: Event) -> list[Chunk]:
        return [{"type": "reasoning-start", "id": string(event, "messageId")}]

    def _reasoning_content(self, event: Event) -> list[Chunk]:
        return self._delta("reasoning-delta", event)

    def _reasoning_end(self, event: Event) -> list[Chunk]:
        return [{"type": "reasoning-end", "id": string(event, "messageId")}]

    def _reasoning_chunk(self, event: Event) -> list[Chunk]:
        found = self._shorthand_for("reasoning", event.get("messageId"), event, self._reasoning_start)
        return found + self._shorthand_delta("reasoning-delta", event)

    def _thinking_start(self, _: Event) -> list[Chunk]:
        self._thoughts += 1
        return [{"type": "reasoning-start", "id": self._thought}]

    def _thinking_content(self, event: Event) -> list[Chunk]:
        return [{"type": "reasoning-delta", "id": self._thought, "delta": string(event, "delta")}]

    def _thinking_end(self, _: Event) -> list[Chunk]:
        return [{"type": "reasoning-end", "id": self._thought}]

    @property
    def _thought(self) -> str:
        return f"thinking-{self._thoughts}"  # 0.x gave them no ids

    def _delta(self, kind: str, event: Event) -> list[Chunk]:
        message_id, delta = string(event, "messageId"), string(event, "delta")
        if not delta or message_id in self._ignored:
            return []
        return [{"type": kind, "id": message_id, "delta": delta}]

    # Tools

    def _tool_start(self, event: Event) -> list[Chunk]:
        call_id, name = string(event, "toolCallId"), string(event, "toolCallName")
        self._tools[call_id] = (name, [])
        self._spoke = True
        return [{"type": "tool-input-start", "toolCallId": call_id, "toolName": name}]

    def _tool_args(self, event: Event) -> list[Chunk]:
        call_id, delta = string(event, "toolCallId"), string(event, "delta")
        if call_id in self._tools:
            self._tools[call_id][1].append(delta)
        return [{"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": delta}]

    def _tool_end(self, event: Event) -> list[Chunk]:
        return self._give_input(string(event, "toolCallId"))

    def _tool_chunk(self, event: Event) -> list[Chunk]:
        found = self._shorthand_for("tool", event.get("toolCallId"), event, self._tool_start)
        if self._shorthand is not None and event.get("delta"):
            found += self._tool_args({"toolCallId": self._shorthand[1], "delta": event["delta"]})
        return found

    def _tool_result(self, event: Event) -> list[Chunk]:
        call_id = string(event, "toolCallId")
        self._spoke = True
        given: Chunk = {
            "type": "tool-output-available",
            "toolCallId": call_id,
            "output": event.get("content"),
        }
        return [*self._give_input(call_id), given]

    def _give_input(self, call_id: str) -> list[Chunk]:
        name, pieces = self._tools.pop(call_id, ("", []))
        return [input_chunk(call_id, name, "".join(pieces))] if name else []

    def _open_inputs(self) -> list[Chunk]:
        return [chunk for call_id in list(self._tools) for chunk in self._give_input(call_id)]

    # The *_CHUNK events: a start, a content and an end in one, each only where something changes

    def _shorthand_for(
        self, kind: str, own_id: Any, event: Event, start: Callable[[Event], list[Chunk]]
    ) -> list[Chunk]:
        opened = self._shorthand
        if opened is not None and opened[0] == kind and own_id in (None, opened[1]):
            return []
        if not isinstance(own_id, str):
            raise AnswerInvalid(f"{event['type']}: the first of a message or call must name its id.")
        found = self._close_shorthand()
        self._shorthand = (kind, own_id)
        return found + start(event)

    def _shorthand_delta(self, kind: str, event: Event) -> list[Chunk]:
        if self._shorthand is None or not event.get("delta"):
            return []
        return self._delta(kind, {**event, "messageId": self._shorthand[1]})

    def _close_shorthand(self) -> list[Chunk]:
        if self._shorthand is None:
            return []
        (kind, own_id), self._shorthand = self._shorthand, None
        if kind == "tool":
            return self._give_input(own_id)
        return [] if own_id in self._ignored else [{"type": f"{kind}-end", "id": own_id}]

    # Messages

    def _messages_snapshot(self, event: Event) -> list[Chunk]:
        messages = event.get("messages")
        self._snapshot = messages if isinstance(messages, list) else []
        return []

    def _snapshot_answer(self) -> list[Chunk]:
        """What the agent said, if it told so only by the whole conversation: what follows the last user's message."""
        said: list[Any] = []
        for message in self._snapshot:
            role = message.get("role") if isinstance(message, dict) else None
            said = [] if role == "user" else [*said, message] if role == "assistant" else said
        return [chunk for number, message in enumerate(said) for chunk in _said(message, number)]


_HANDLERS: Final[Mapping[str, Callable[[Events, Event], list[Chunk]]]] = {
    "RUN_STARTED": Events._run_started,
    "RUN_FINISHED": Events._run_finished,
    "RUN_ERROR": Events._run_error,
    "STEP_STARTED": Events._step_started,
    "STEP_FINISHED": Events._step_finished,
    "TEXT_MESSAGE_START": Events._text_start,
    "TEXT_MESSAGE_CONTENT": Events._text_content,
    "TEXT_MESSAGE_END": Events._text_end,
    "TEXT_MESSAGE_CHUNK": Events._text_chunk,
    "REASONING_MESSAGE_START": Events._reasoning_start,
    "REASONING_MESSAGE_CONTENT": Events._reasoning_content,
    "REASONING_MESSAGE_END": Events._reasoning_end,
    "REASONING_MESSAGE_CHUNK": Events._reasoning_chunk,
    "THINKING_TEXT_MESSAGE_START": Events._thinking_start,
    "THINKING_TEXT_MESSAGE_CONTENT": Events._thinking_content,
    "THINKING_TEXT_MESSAGE_END": Events._thinking_end,
    "TOOL_CALL_START": Events._tool_start,
    "TOOL_CALL_ARGS": Events._tool_args,
    "TOOL_CALL_END": Events._tool_end,
    "TOOL_CALL_CHUNK": Events._tool_chunk,
    "TOOL_CALL_RESULT": Events._tool_result,
    "MESSAGES_SNAPSHOT": Events._messages_snapshot,
}

IGNORED: Final = frozenset(
    {"RAW", "REASONING_START", "REASONING_END", "REASONING_ENCRYPTED_VALUE", "THINKING_START", "THINKING_END"}
)
"""Events that are known, and say nothing that is kept or shown."""

_LEAVES_OPEN: Final = frozenset(
    {"TEXT_MESSAGE_CHUNK", "REASONING_MESSAGE_CHUNK", "TOOL_CALL_CHUNK", "MESSAGES_SNAPSHOT"}
)
"""Events that may come amid a message told in *_CHUNK events."""


def _outcome(outcome: Any) -> list[Chunk]:
    kind = outcome.get("type") if isinstance(outcome, dict) else None
    if kind == "cancelled":
        return [{"type": "abort"}]
    interrupts = outcome.get("interrupts") if kind == "interrupt" else None
    found: list[Chunk] = [
        {"type": "data-interrupt", "id": string(interrupt, "id"), "data": interrupt}
        for interrupt in (interrupts if isinstance(interrupts, list) else [])
    ]
    return [*found, {"type": "finish"}]


def _said(message: dict[str, Any], number: int) -> list[Chunk]:
    own_id = f"message-{number}"
    found: list[Chunk] = []
    if isinstance(text := message.get("content"), str) and text:
        found = [
            {"type": "text-start", "id": own_id},
            {"type": "text-delta", "id": own_id, "delta": text},
            {"type": "text-end", "id": own_id},
        ]
    calls = message.get("toolCalls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name, arguments = string(function, "name"), string(function, "arguments")
            found.append(input_chunk(string(call, "id"), name, arguments))
    return found
