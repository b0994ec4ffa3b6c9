"""A streamed answer: pieces of text and UI message chunks in, Server-Sent Events out. Pure.

The chunks are those of the AI SDK's UI message stream: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol. Always the long
form, from `start` to `[DONE]`: a connection that breaks can then never look like an end.
"""

from collections.abc import Mapping
from typing import Any

from .answers import encode

DONE = b"data: [DONE]\n\n"
STILL_HERE = b": still here\n\n"
"""A comment, which nobody shows: it says that the silence is no end."""

_BESIDE_TEXT = ("data-", "message-metadata")
"""Types that may come while a text grows; all others end it."""
_LAST = ("finish", "abort", "error")


class Stream:
    """Turns what a handler yields into events."""

    def __init__(self) -> None:
        self.failed = False
        """Whether the handler itself has said `error`: then the call is made again."""
        self._started = False
        self._over = False
        self._texts = 0
        self._text_id = ""

    def feed(self, piece: Any) -> bytes:
        """The events of one piece, text or chunk. Raises `TypeError`, or `ValueError` for what comes after the end."""
        if self._over:
            raise ValueError("Nothing can be said after finish, abort or error.")
        if isinstance(piece, str):
            chunks = self._text(piece)
        elif isinstance(piece, Mapping) and isinstance(piece.get("type"), str):
            chunks = self._chunk(dict(piece))
        else:
            raise TypeError(f"A handler yields text or chunks with a type, not {type(piece).__name__}.")
        return _events(self._start(chunks))

    def end(self) -> bytes:
        """The events with which the stream is whole."""
        chunks = [] if self._over else [*self._close(), {"type": "finish"}]
        self._over = True
        return _events(self._start(chunks)) + DONE

    def fail(self, text: str) -> bytes:
        """The events with which the stream has failed; people may read `text`."""
        self._over = self.failed = True
        return _events(self._start([{"type": "error", "errorText": text}])) + DONE

    def _text(self, text: str) -> list[dict[str, Any]]:
        if not text:
            return []
        begin = []
        if not self._text_id:
            self._texts += 1
            self._text_id = f"text-{self._texts}"
            begin = [{"type": "text-start", "id": self._text_id}]
        return [*begin, {"type": "text-delta", "id": self._text_id, "delta": text}]

    def _chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        kind = chunk["type"]
        self._over = kind in _LAST
        self.failed = kind == "error"
        return [chunk] if kind.startswith(_BESIDE_TEXT) else [*self._close(), chunk]

    def _close(self) -> list[dict[str, Any]]:
        """The end of the text that grows, if one does."""
        text_id, self._text_id = self._text_id, ""
        return [{"type": "text-end", "id": text_id}] if text_id else []

    def _start(self, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._started or not chunks:
            return chunks
        self._started = True
        return chunks if chunks[0]["type"] == "start" else [{"type": "start"}, *chunks]


def _events(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + encode(chunk) + b"\n\n" for chunk in chunks)
