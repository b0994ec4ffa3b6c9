"""JSON Patch (RFC 6902) on a document of one's own, in place. Pure."""

from typing import Any, Final

import orjson

COPIED_BYTES_MAX: Final = 1024 * 1024
"""A document may copy this much of itself in all: every copy can double it."""


class PatchFailed(Exception):
    """The patch is not one, or does not fit the document, of which a part may have changed."""


class Document:
    """A JSON document that follows patches. What is put in is copied."""

    def __init__(self, value: Any) -> None:
        self._value = _copy(value)
        self._copied = 0

    @property
    def value(self) -> Any:
        """A copy of what it is now; raises `PatchFailed` if it nests too deep to be written."""
        try:
            return _copy(self._value)
        except orjson.JSONEncodeError as error:
            raise PatchFailed(str(error)) from None

    def apply(self, patch: Any) -> None:
        """Apply the operations in order; raises `PatchFailed`."""
        try:
            for operation in patch:
                self._apply(operation["op"], operation)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise PatchFailed(str(error)) from None

    def _apply(self, name: str, operation: dict[str, Any]) -> None:
        path = _tokens(operation["path"])
        if name == "remove":
            self._remove(path)
        elif name == "replace":
            if path:
                self._remove(path)
            self._add(path, _copy(operation["value"]))
        elif name == "add":
            self._add(path, _copy(operation["value"]))
        elif name == "move":
            self._add(path, self._remove(_tokens(operation["from"])))
        elif name == "copy":
            self._add(path, self._copied_from(_tokens(operation["from"])))
        elif name != "test" or self._get(path) != operation["value"]:
            raise ValueError(f"{name} {operation['path']} does not hold")

    def _copied_from(self, path: list[str]) -> Any:
        text = orjson.dumps(self._get(path))
        self._copied += len(text)
        if self._copied > COPIED_BYTES_MAX:
            raise ValueError("too much is copied")
        return orjson.loads(text)

    def _get(self, path: list[str]) -> Any:
        value = self._value
        for token in path:
            value = value[_index(value, token)] if isinstance(value, list) else value[token]
        return value

    def _add(self, path: list[str], value: Any) -> None:
        if not path:
            self._value = value
            return
        holder, last = self._get(path[:-1]), path[-1]
        if isinstance(holder, list):
            at = len(holder) if last == "-" else _index(holder, last, beyond=1)
            holder.insert(at, value)
        else:
            holder[last] = value

    def _remove(self, path: list[str]) -> Any:
        if not path:
            raise ValueError("the whole document cannot be removed")
        holder, last = self._get(path[:-1]), path[-1]
        return holder.pop(_index(holder, last)) if isinstance(holder, list) else holder.pop(last)


def _tokens(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON Pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _index(holder: list[Any], token: str, beyond: int = 0) -> int:
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0"):
        raise ValueError(f"{token!r} is no index")
    at = int(token)
    if at >= len(holder) + beyond:
        raise IndexError(f"there is no item {at}")
    return at


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))
