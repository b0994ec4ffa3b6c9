"""Chunks: the parts of a streamed answer, in the vocabulary of the AI SDK's UI message stream. Pure.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Chunk = Mapping[str, Any]

PIECES: Final[Mapping[str, tuple[str, str]]] = {
    "text-delta": ("id", "delta"),
    "reasoning-delta": ("id", "delta"),
    "tool-input-delta": ("toolCallId", "inputTextDelta"),
}
"""The chunks that carry a piece of text: the names of what it belongs to, and of the piece."""

_BLOCKS: Final = frozenset({"reasoning-start", "reasoning-file", "file", "custom"})
"""After these the next text is a new paragraph; so it is after a step or a new tool call."""


def merge(before: Sequence[Chunk], more: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """All of them in fewer chunks: neighbouring pieces of one text, reasoning or tool input become one."""
    merged = list(before)
    for chunk in more:
        if merged and _mark(chunk) is not None and _mark(chunk) == _mark(merged[-1]):
            name = PIECES[chunk["type"]][1]
            merged[-1] = {**merged[-1], name: merged[-1][name] + chunk[name]}
        else:
            merged.append(chunk)
    return tuple(merged)


def missing(before: Sequence[Chunk], after: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """What `after`, the same run later, has more than `before`. Both are merged: they differ from the last of `before` on."""
    if not before:
        return tuple(after)
    place = len(before) - 1
    last, grown = before[place], after[place]
    names = PIECES.get(last["type"])
    rest = grown[names[1]][len(last[names[1]]) :] if names else ""
    return (*([{**grown, names[1]: rest}] if names and rest else []), *after[place + 1 :])


def said_in(chunks: Iterable[Chunk]) -> str:
    """The pieces of text in these chunks, one after the other."""
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def text_of(chunks: Iterable[Chunk]) -> str:
    """The text that a message of these chunks has. Texts that follow each other are one; a step, a tool, a reasoning or a
    file between them makes a new paragraph."""
    said = _Said([], {}, {})
    for chunk in chunks:
        said.add(chunk)
    paragraphs = [text for text in said.paragraphs() if text.strip()]
    text = paragraphs[0] if paragraphs else ""
    for paragraph in paragraphs[1:]:
        text = text.rstrip("\n") + "\n\n" + paragraph.lstrip("\n")
    return text


@dataclass(slots=True, eq=False)
class _Part:
    kind: str
    text: str = ""


@dataclass(slots=True)
class _Said:
    """A message while it grows, as far as its text needs it."""

    parts: list[_Part]
    texts: dict[str, _Part]
    tools: dict[str, _Part]

    def add(self, chunk: Chunk) -> None:
        kind = chunk["type"]
        if kind == "text-start":
            self.texts[chunk["id"]] = self._append("text")
        elif kind == "text-delta" and chunk["id"] in self.texts:
            self.texts[chunk["id"]].text += chunk["delta"]
        elif kind == "start-step":
            self._append("step")
        elif kind == "reset-step":
            self._reset()
        elif kind in _BLOCKS:
            self._append("block")
        elif "toolName" in chunk and chunk.get("toolCallId") not in self.tools:
            self.tools[chunk["toolCallId"]] = self._append("block")

    def paragraphs(self) -> list[str]:
        """What stands between the blocks."""
        found = [""]
        for part in self.parts:
            if part.kind == "text":
                found[-1] += part.text
            else:
                found.append("")
        return found

    def _append(self, kind: str) -> _Part:
        part = _Part(kind)
        self.parts.append(part)
        return part

    def _reset(self) -> None:
        """Forget what the current step has said: the agent tries it again."""
        while self.parts and self.parts[-1].kind != "step":
            self.parts.pop()
        self.texts = {}
        self.tools = {name: part for name, part in self.tools.items() if part in self.parts}


def _mark(chunk: Chunk) -> tuple[str, str] | None:
    """What it is a plain piece of. One that carries more, such as a provider's signature, stays alone."""
    names = PIECES.get(chunk["type"])
    return (chunk["type"], chunk[names[0]]) if names is not None and len(chunk) == 3 else None
