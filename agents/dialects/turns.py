"""A conversation between many as the turns of a chat between a model and its user: what AG-UI and OpenAI speak. Pure.

The agent's own messages are the assistant's; its tool calls and their results, whether parts of a streamed answer or
messages of kind `tool_call` and `tool_result`, become tool calls with their results right behind them. Everyone else
is the user, by name; where more than two take part the name is also put before the words, for most models never
see the field. Messages of kind `system` are the system's. What has neither text nor tools is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from agents.context import CALL_KIND, RESULT_KIND, tool_call_ids
from agents.dialects.base import Call
from agents.rules import ContextMessage

_OUTPUTS: Final = frozenset({"output-available", "output-error", "output-denied"})
_ENDED: Final = "The tool gave no result."


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a tool call."""

    call_id: str
    text: str
    failed: bool = False


@dataclass(slots=True)
class Turn:
    """One turn: `role` is user, assistant or system. `results` are of this turn's calls, in their order."""

    id: str
    role: str
    text: str = ""
    name: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)


def turns(call: Call, *, keep_pending: bool = False) -> list[Turn]:
    """The turns of a call's context.

    A tool call without a result is left out unless `keep_pending`: models refuse a history that holds one. A result
    without its call is told as the user's words, so that what is new is never lost.
    """
    contents = {message.seq: _content(message) for message in call.messages}
    results = _results(call, contents)
    names = {p["id"]: p["display_name"] or p["id"] for p in call.participants}
    told: set[str] = set()
    found: list[Turn] = []
    for message in call.messages:
        found += _turns_of(message, contents[message.seq], call, names, results, told)
    for turn in found:
        _settle(turn, results, keep_pending)
    return [turn for turn in found if turn.text or turn.calls]


def last_part(call: Call, kind: str) -> dict[str, Any] | None:
    """The newest part of this type in the agent's own messages."""
    for message in reversed(call.messages):
        if message.sender_id == call.agent_id and f'"{kind}"' in message.content:
            for part in _parts(_content(message))[::-1]:
                if part.get("type") == kind:
                    return part
    return None


def _turns_of(
    message: ContextMessage,
    content: dict[str, Any],
    call: Call,
    names: Mapping[str, str],
    results: Mapping[str, ToolResult],
    told: set[str],
) -> Iterator[Turn]:
    if message.kind == RESULT_KIND:
        yield from _orphans(message, content, results, told)
    elif message.sender_id == call.agent_id:
        for turn in _own_turns(message, content):
            turn.calls = [tool_call for tool_call in turn.calls if tool_call.id not in told]
            told.update(tool_call.id for tool_call in turn.calls)
            yield turn
    elif message.kind == "system":
        yield Turn(message.id, "system", message.text)
    elif message.text:
        name = names.get(message.sender_id, message.sender_id)
        text = f"{name}: {message.text}" if len(call.participants) > 2 else message.text
        yield Turn(message.id, "user", text, name)


def _own_turns(message: ContextMessage, content: dict[str, Any]) -> Iterator[Turn]:
    """One turn for each step of the answer: what was said after a tool's result comes after it."""
    if message.kind == CALL_KIND:
        yield Turn(message.id, "assistant", message.text, calls=_calls(content))
        return
    parts = _parts(content)
    if not any(_is_tool(part) for part in parts):
        yield Turn(message.id, "assistant", message.text)
        return
    turn = Turn(message.id, "assistant")
    number = 1
    for part in parts:
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            if turn.calls:
                yield turn
                number += 1
                turn = Turn(f"{message.id}-{number}", "assistant")
            turn.text += part["text"]
        elif _is_tool(part):
            turn.calls += _part_calls(part)
    yield turn


def _settle(turn: Turn, results: Mapping[str, ToolResult], keep_pending: bool) -> None:
    """Give the turn the results of its calls."""
    if not keep_pending:
        turn.calls = [call for call in turn.calls if call.id in results]
    turn.results = [results[call.id] for call in turn.calls if call.id in results]


def _results(call: Call, contents: Mapping[int, dict[str, Any]]) -> dict[str, ToolResult]:
    """Every result in the context by its call's id; the last one counts."""
    found: dict[str, ToolResult] = {}
    for message in call.messages:
        content = contents[message.seq]
        if message.kind == RESULT_KIND:
            for call_id in tool_call_ids(content):
                found[call_id] = ToolResult(call_id, _result_text(content, message.text), _failed(content))
        elif message.sender_id == call.agent_id:
            for part in _parts(content):
                if _is_tool(part) and part.get("state") in _OUTPUTS:
                    call_id = part["toolCallId"]
                    found[call_id] = ToolResult(call_id, _result_text(part, _ENDED), _failed(part))
    return found


def _orphans(
    message: ContextMessage, content: dict[str, Any], results: Mapping[str, ToolResult], told: set[str]
) -> Iterator[Turn]:
    for call_id in sorted(tool_call_ids(content) - told):
        yield Turn(message.id, "user", f"Result of tool call {call_id}: {results[call_id].text}")


def _calls(content: dict[str, Any]) -> list[ToolCall]:
    """The calls of a message of kind `tool_call`: its content itself, or its parts."""
    holders = [content, *_parts(content)]
    return [found for holder in holders for found in _part_calls(holder)]


def _part_calls(holder: dict[str, Any]) -> list[ToolCall]:
    call_id = holder.get("tool_call_id", holder.get("toolCallId"))
    name = _tool_name(holder)
    if not isinstance(call_id, str) or not name:
        return []
    given = holder.get("input", holder.get("arguments", holder.get("args")))
    return [ToolCall(call_id, name, _text_of({} if given is None else given))]


def _tool_name(holder: dict[str, Any]) -> str:
    for field_name in ("tool_name", "toolName", "name"):
        if isinstance(holder.get(field_name), str):
            return str(holder[field_name])
    kind = holder.get("type")
    return kind.removeprefix("tool-") if isinstance(kind, str) and kind.startswith("tool-") else ""


def _result_text(holder: dict[str, Any], otherwise: str) -> str:
    for field_name in ("output", "result", "errorText", "error"):
        if holder.get(field_name) is not None:
            return _text_of(holder[field_name])
    return otherwise


def _failed(holder: dict[str, Any]) -> bool:
    if "state" in holder:
        return bool(holder["state"] != "output-available")
    return holder.get("error") is not None or holder.get("errorText") is not None


def _is_tool(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    named = isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-"))
    return named and isinstance(part.get("toolCallId"), str)


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    parts = content.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _content(message: ContextMessage) -> dict[str, Any]:
    # Content is an object: REST and answers take nothing else.
    content: dict[str, Any] = {} if message.content == "{}" else orjson.loads(message.content)
    return content


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
