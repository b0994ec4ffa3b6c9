"""Reads streams of `chat.completion.chunk`, as OpenAI and the many servers like it send them."""

from dataclasses import dataclass, field
from typing import Any, Final

from agents.chunks import Chunk
from agents.dialects import payloads
from agents.dialects.tools import input_chunk
from agents.errors import AgentFailed, AnswerInvalid

DONE: Final = "[DONE]"
ERROR_CHARACTERS: Final = 500

_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}
_REASONING: Final = ("reasoning_content", "reasoning")
"""Where servers put what a model thinks: DeepSeek, vLLM and others the first, OpenRouter and newer vLLM the second."""


@dataclass(slots=True)
class _ToolCall:
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


class Deltas:
    """See `agents.dialects.readers.Translator`. It reads the first choice only; `n` is 1 unless someone asks."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._finished = False
        self._open = ""  # the kind of prose that is open: text or reasoning
        self._count = 0
        self._calls: dict[int, _ToolCall] = {}
        self._call_count = 0
        self._model = ""

    def translate(self, payload: str) -> list[Chunk]:
        """The chunks of one payload. Raises `AgentFailed` for an error that the server reports midway."""
        if payload.strip() == DONE:
            self.done = True
            return self._finish("stop")
        value = payloads.load(payload)
        if not isinstance(value, dict):
            raise AnswerInvalid("A part of the stream is not an object.")
        if value.get("error"):
            raise AgentFailed(_error_text(value["error"]))
        return self._start(value) + self._choice(value.get("choices")) + self._usage(value)

    def end(self) -> list[Chunk]:
        """Nothing: a stream that has told no reason to finish broke off."""
        return []

    def _start(self, value: dict[str, Any]) -> list[Chunk]:
        if self._started:
            return []
        self._started = True
        self._model = value["model"] if isinstance(value.get("model"), str) else ""
        return [{"type": "start"}]

    def _choice(self, choices: Any) -> list[Chunk]:
        if not isinstance(choices, list) or not choices or not isinstance(choice := choices[0], dict):
            return []  # usage alone, or a sign of life
        if choice.get("index") or not isinstance(delta := choice.get("delta") or {}, dict):
            return []
        found = self._thoughts(delta)
        found += self._words(delta.get("content"))
        found += self._words(delta.get("refusal"))
        for position, call in enumerate(_list(delta.get("tool_calls"))):
            found += self._tool(call, position)
        if isinstance(reason := choice.get("finish_reason"), str):
            found += self._finish(reason)
        return found

    def _thoughts(self, delta: dict[str, Any]) -> list[Chunk]:
        for name in _REASONING:
            if isinstance(delta.get(name), str):
                return self._say("reasoning", delta[name])
        return []

    def _words(self, content: Any) -> list[Chunk]:
        if isinstance(content, str):
            return self._say("text", content)
        # Mistral sends a list of blocks when its models think.
        found: list[Chunk] = []
        for block in _list(content):
            if isinstance(block.get("text"), str):
                found += self._say("text", block["text"])
            for thought in _list(block.get("thinking")):
                if isinstance(thought.get("text"), str):
                    found += self._say("reasoning", thought["text"])
        return found

    def _say(self, kind: str, delta: str) -> list[Chunk]:
        if not delta:
            return []
        if self._open == kind:
            return [{"type": f"{kind}-delta", "id": f"{kind}-{self._count}", "delta": delta}]
        found = self._close_prose()
        self._open = kind
        self._count += 1
        own_id = f"{kind}-{self._count}"
        found += [
            {"type": f"{kind}-start", "id": own_id},
            {"type": f"{kind}-delta", "id": own_id, "delta": delta},
        ]
        return found

    def _tool(self, part: dict[str, Any], position: int) -> list[Chunk]:
        function = part.get("function")
        function = function if isinstance(function, dict) else {}
        index = part["index"] if isinstance(part.get("index"), int) else position
        name, arguments = function.get("name"), function.get("arguments")
        found: list[Chunk] = []
        call = self._calls.get(index)
        if call is None or (_differs(part.get("id"), call.id) and isinstance(name, str) and name):
            found = self._start_tool(index, part.get("id"), name)
            call = self._calls[index]
        if isinstance(arguments, dict):  # some servers parse them
            arguments = payloads.dump(arguments)
        if isinstance(arguments, str) and arguments:
            call.pieces.append(arguments)
            found.append({"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": arguments})
        return found

    def _start_tool(self, index: int, call_id: Any, name: Any) -> list[Chunk]:
        if not isinstance(name, str) or not name:
            raise AnswerInvalid("A tool call of the stream has no name.")
        found = self._close_prose()
        if index in self._calls:  # Gemini gives every call the index 0
            found += _available(self._calls.pop(index))
        self._call_count += 1
        call = _ToolCall(
            call_id if isinstance(call_id, str) and call_id else f"call_{self._call_count}", name
        )
        self._calls[index] = call
        found.append({"type": "tool-input-start", "toolCallId": call.id, "toolName": name})
        return found

    def _finish(self, reason: str) -> list[Chunk]:
        if self._finished:
            return []
        self._finished = True
        found = self._close()
        if self._model:
            found.append({"type": "message-metadata", "messageMetadata": {"model": self._model}})
        found.append({"type": "finish", "finishReason": _FINISH_REASONS.get(reason, "other")})
        return found

    def _usage(self, value: dict[str, Any]) -> list[Chunk]:
        # Some servers count along in every chunk: only the last word is of use.
        usage = value.get("usage")
        if not self._finished or not isinstance(usage, dict):
            return []
        return [{"type": "message-metadata", "messageMetadata": {"usage": usage}}]

    def _close(self) -> list[Chunk]:
        found = self._close_prose()
        for call in self._calls.values():
            found += _available(call)
        self._calls = {}
        return found

    def _close_prose(self) -> list[Chunk]:
        if not self._open:
            return []
        kind, self._open = self._open, ""
        return [{"type": f"{kind}-end", "id": f"{kind}-{self._count}"}]


def whole(completion: Any) -> dict[str, Any]:
    """A completion that was not streamed, as the one chunk that a stream of it would be."""
    if not isinstance(completion, dict):
        raise AnswerInvalid("The answer is not a chat completion.")
    if completion.get("error"):
        return completion
    choices = _list(completion.get("choices"))
    if not choices or not isinstance(message := choices[0].get("message"), dict):
        raise AnswerInvalid("The answer is not a chat completion: it has no choices[0].message.")
    reason = choices[0].get("finish_reason")
    choice = {"delta": message, "finish_reason": reason if isinstance(reason, str) else "stop"}
    return completion | {"choices": [choice]}


def _available(call: _ToolCall) -> list[Chunk]:
    return [input_chunk(call.id, call.name, "".join(call.pieces))]


def _differs(call_id: Any, known: str) -> bool:
    return isinstance(call_id, str) and bool(call_id) and call_id != known


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _error_text(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    text = message if isinstance(message, str) else payloads.dump(error)
    return text[:ERROR_CHARACTERS]
