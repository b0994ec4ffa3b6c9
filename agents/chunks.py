"""Chunks: the parts of a streamed answer, in the vocabulary of the AI SDK's UI message stream (AI SDK 5 and later).

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol. Every dialect translates what its agent streams into these.
Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents.errors import AnswerInvalid
from conversations import rules
from conversations.errors import FleetLMError

Chunk = dict[str, Any]

DELTAS: Final[Mapping[str, tuple[str, str]]] = {
    "text-delta": ("id", "delta"),
    "reasoning-delta": ("id", "delta"),
    "tool-input-delta": ("toolCallId", "inputTextDelta"),
}
"""The chunks that carry a piece of text: the names of what it belongs to, and of the piece."""

_CALL: Final = ("toolCallId",)
_CALL_OF: Final = ("toolCallId", "toolName")
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "start": (),
    "finish": (),
    "abort": (),
    "error": ("errorText",),
    "message-metadata": (),
    "start-step": (),
    "finish-step": (),
    "reset-step": (),
    "text-start": ("id",),
    "text-delta": ("id", "delta"),
    "text-end": ("id",),
    "reasoning-start": ("id",),
    "reasoning-delta": ("id", "delta"),
    "reasoning-end": ("id",),
    "reasoning-file": ("url", "mediaType"),
    "tool-input-start": _CALL_OF,
    "tool-input-delta": ("toolCallId", "inputTextDelta"),
    "tool-input-available": _CALL_OF,
    "tool-input-error": (*_CALL_OF, "errorText"),
    "tool-approval-request": ("toolCallId", "approvalId"),
    "tool-approval-response": ("approvalId",),
    "tool-output-available": _CALL,
    "tool-output-error": ("toolCallId", "errorText"),
    "tool-output-denied": _CALL,
    "source-url": ("sourceId", "url"),
    "source-document": ("sourceId", "mediaType", "title"),
    "file": ("url", "mediaType"),
    "custom": ("kind",),
}
"""Every type but `data-<name>`, and its fields that must be strings. Fields of any JSON value may be absent, which is
null: JavaScript leaves out what is undefined."""

_OPTIONAL: Final[Mapping[str, type]] = {
    "id": str,
    "messageId": str,
    "title": str,
    "filename": str,
    "reason": str,
    "finishReason": str,
    "signature": str,
    "inputEncoding": str,
    "dynamic": bool,
    "transient": bool,
    "preliminary": bool,
    "approved": bool,
    "providerExecuted": bool,
    "messageMetadata": dict,
    "providerMetadata": dict,
    "toolMetadata": dict,
}
"""The types of fields that may be absent or null."""


def check(value: Any, depth: int) -> Chunk | None:
    """The chunk itself, if it is one that can be kept, nested at most `depth` levels; raises `AnswerInvalid` if not.

    None for a type that this version does not know: a newer agent may say more than we can read, and what we can
    read stays right. Fields that we do not know are kept.
    """
    if not isinstance(value, dict) or not isinstance(kind := value.get("type"), str):
        raise AnswerInvalid("A part of the stream is not an object with a type.")
    names = DELTAS.get(kind)
    if names is None or len(value) != 3:
        return _check_any(value, kind, depth)
    # Most chunks are these, so they get a shorter way.
    owner, piece = value.get(names[0]), value.get(names[1])
    if type(owner) is str and type(piece) is str and _storable(piece) and _storable(owner):
        return value
    return _check_any(value, kind, depth)


def merge(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The same run in fewer chunks: neighbouring deltas of one text, reasoning or tool input become one.

    A transcript of the result equals the transcript of what was given.
    """
    merged: list[Chunk] = []
    pieces: list[str] = []
    mark: tuple[str, str] | None = None  # what the last chunk is a plain delta of
    for chunk in chunks:
        own_mark = _mark(chunk)
        if own_mark is None or own_mark != mark:
            _put(merged, pieces)
            merged.append(chunk)
            mark, pieces = own_mark, []
        if own_mark is not None:
            pieces.append(chunk[DELTAS[own_mark[0]][1]])
    _put(merged, pieces)
    return merged


def _put(merged: list[Chunk], pieces: list[str]) -> None:
    """Give the last chunk all of its pieces, in a copy: what was given stays as it is."""
    if len(pieces) > 1:
        last = merged[-1]
        merged[-1] = {**last, DELTAS[last["type"]][1]: "".join(pieces)}


def _mark(chunk: Chunk) -> tuple[str, str] | None:
    # A delta that carries more, such as a provider's signature, stays alone.
    names = DELTAS.get(chunk["type"])
    return (chunk["type"], chunk[names[0]]) if names is not None and len(chunk) == 3 else None


def _check_any(chunk: Chunk, kind: str, depth: int) -> Chunk | None:
    required = ("type",) if kind.startswith("data-") else _REQUIRED.get(kind)
    if required is None:
        return None
    chunk = _without_nulls(chunk)
    for name in required:
        if not isinstance(chunk.get(name), str):
            raise AnswerInvalid(f"{kind}: {name} must be a string.")
    if chunk.get("toolName") == "" or kind == "data-":
        raise AnswerInvalid(f"{kind}: the name is empty.")
    _check_optional(chunk, kind)
    try:
        rules.check_json(chunk, kind, depth)
    except FleetLMError as error:
        raise AnswerInvalid(str(error)) from None
    return chunk


def _without_nulls(chunk: Chunk) -> Chunk:
    if all(chunk[name] is not None for name in chunk):
        return chunk
    return {name: value for name, value in chunk.items() if value is not None or name not in _OPTIONAL}


def _check_optional(chunk: Chunk, kind: str) -> None:
    for name, value in chunk.items():
        expected = _OPTIONAL.get(name)
        if expected is not None and not isinstance(value, expected):
            raise AnswerInvalid(f"{kind}: {name} must be {_NAMES[expected]}.")


_NAMES: Final = {str: "a string", bool: "true or false", dict: "an object"}


def _storable(text: str) -> bool:
    # Any half of a surrogate pair fails to encode; `_check_any` then says what is wrong.
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
