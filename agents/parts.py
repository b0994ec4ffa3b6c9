"""The parts that a message of a streamed answer is made of, in the shape of the AI SDK's UIMessage. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from agents.chunks import Chunk

_BLOCKS: Final = frozenset({"step-start", "reasoning", "reasoning-file", "file", "custom", "dynamic-tool"})
_FACTS: Final = ("providerExecuted", "title", "preliminary", "toolMetadata", "inputEncoding")
"""What chunks of a tool may say besides its input and its output."""


_CAME_OF_INPUT: Final = ("input", "rawInput", "output", "errorText", "preliminary", "approval")
"""What is not so any more when a call's input comes again."""


@dataclass(slots=True, eq=False)
class Part:
    """One part: its body, the pieces of the field that still `grows`, and the bytes that it takes of the content."""

    body: dict[str, Any]
    grows: str = ""
    pieces: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def is_text(self) -> bool:
        """Whether its pieces belong to the message's text."""
        return bool(self.body["type"] == "text")

    @property
    def is_block(self) -> bool:
        """Whether it ends a paragraph of the text. Sources and data do not: they come amid a sentence."""
        kind: str = self.body["type"]
        return kind in _BLOCKS or kind.startswith("tool-")

    @property
    def is_empty(self) -> bool:
        """Whether it is a text or reasoning in which nothing was said."""
        is_prose = self.grows == "text" and "providerMetadata" not in self.body
        return is_prose and not any(self.pieces)

    def value(self) -> dict[str, Any]:
        """The part as it is kept."""
        if not self.grows:
            return dict(self.body)
        return {"type": self.body["type"], self.grows: "".join(self.pieces)} | self.body

    def settle(self) -> None:
        """What has grown so far stays as it is."""
        self.body, self.grows, self.pieces = self.value(), "", []


def prose(kind: str, chunk: Chunk) -> Part:
    """A new text or reasoning."""
    body = {"type": kind}
    if "providerMetadata" in chunk:
        body["providerMetadata"] = chunk["providerMetadata"]
    return Part(body, "text")


def name_tool(part: Part, chunk: Chunk) -> None:
    """Give a tool's part its name: a later chunk of the same call may know it better."""
    if chunk.get("dynamic"):
        part.body |= {"type": "dynamic-tool", "toolName": chunk["toolName"]}
    else:
        part.body["type"] = f"tool-{chunk['toolName']}"
    _note(part, chunk, "callProviderMetadata")


def _start_input(part: Part, _: Chunk) -> None:
    _forget(part, *_CAME_OF_INPUT)
    part.body["state"] = "input-streaming"
    part.grows, part.pieces = "rawInput", []


def _give_input(part: Part, chunk: Chunk) -> None:
    _forget(part, *_CAME_OF_INPUT)
    part.grows, part.pieces = "", []
    part.body |= {"state": "input-available", "input": chunk.get("input")}


def _refuse_input(part: Part, chunk: Chunk) -> None:
    _forget(part, *_CAME_OF_INPUT)
    part.grows, part.pieces = "", []
    part.body |= {"state": "output-error", "rawInput": chunk.get("input"), "errorText": chunk["errorText"]}


def _ask_approval(part: Part, chunk: Chunk) -> None:
    part.body |= {"state": "approval-requested", "approval": {"id": chunk["approvalId"]}}


def _give_output(part: Part, chunk: Chunk) -> None:
    part.settle()  # an input that has not ended has been read all the same
    _forget(part, "errorText", "preliminary")
    part.body |= {"state": "output-available", "output": chunk.get("output")}
    _note(part, chunk, "resultProviderMetadata")


def _give_error(part: Part, chunk: Chunk) -> None:
    part.settle()
    _forget(part, "output")
    part.body |= {"state": "output-error", "errorText": chunk["errorText"]}
    _note(part, chunk, "resultProviderMetadata")


def _deny(part: Part, _: Chunk) -> None:
    part.body["state"] = "output-denied"


def _note(part: Part, chunk: Chunk, provider: str) -> None:
    part.body |= {name: chunk[name] for name in _FACTS if name in chunk}
    if "providerMetadata" in chunk:
        part.body[provider] = chunk["providerMetadata"]


def _forget(part: Part, *names: str) -> None:
    for name in names:
        part.body.pop(name, None)


TOOL_CHANGES: Final[Mapping[str, Callable[[Part, Chunk], None]]] = {
    "tool-input-start": _start_input,
    "tool-input-available": _give_input,
    "tool-input-error": _refuse_input,
    "tool-approval-request": _ask_approval,
    "tool-output-available": _give_output,
    "tool-output-error": _give_error,
    "tool-output-denied": _deny,
}
"""What each chunk about a tool call does to its part."""


def merge_metadata(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Both objects in one, the new one's values first, objects within merged likewise."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = merge_metadata(before, value)
        merged[name] = value
    return merged


def text_bytes(text: str) -> int:
    """The length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def json_bytes(value: Any) -> int:
    """The length of a value as JSON; what is not there has none."""
    return 0 if value is None else len(orjson.dumps(value))
