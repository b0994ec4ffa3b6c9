"""The rules of ids, keys, texts and messages. Pure: no Django, no I/O."""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from conversations.errors import InvalidRequest, TooLarge

ID_LENGTH: Final = 128
PREVIEW_CHARACTERS: Final = 140
UNCOUNTED_KINDS: Final = frozenset({"system", "redaction"})

_ID = re.compile(r"[A-Za-z0-9._@-]{1,128}")
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_MENTION = re.compile(r"(?<![A-Za-z0-9._@-])@([A-Za-z0-9._@-]{1,128})")
_MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the parts of a message may be: bytes, except for `depth` (levels of JSON)."""

    text_bytes: int
    content_bytes: int
    depth: int


def check_id(value: str, name: str = "id") -> str:
    """The id itself, if it is 1 to 128 characters of `A-Z a-z 0-9 . _ @ -`; raises `InvalidRequest` otherwise."""
    if not _ID.fullmatch(value):
        raise InvalidRequest(
            f"{name} must be 1 to {ID_LENGTH} of the characters A-Z a-z 0-9 . _ @ -", field=name
        )
    return value


def dm_key(one: str, other: str) -> str:
    """The canonical key of a dm: both ids, sorted, joined by a colon. One person alone has no dm."""
    if one == other:
        raise InvalidRequest("A dm takes two different participants.", field="key")
    return ":".join(sorted((check_id(one, "key"), check_id(other, "key"))))


def canonical_key(key: str) -> str:
    """The key under which a conversation is stored: dm keys sorted, others as they are. Raises `InvalidRequest`."""
    if ":" not in key:
        return check_id(key, "key")
    parts = key.split(":")
    if len(parts) != 2:
        raise InvalidRequest("A dm key is two participant ids joined by one colon.", field="key")
    return dm_key(parts[0], parts[1])


def is_dm(key: str) -> bool:
    """Whether this key names a dm."""
    return ":" in key


def dm_participants(key: str) -> tuple[str, str]:
    """The two participants of a canonical dm key."""
    one, other = key.split(":")
    return one, other


def check_text(text: str, limits: Limits) -> str:
    """The text itself, if it fits and holds no NUL and no lone surrogate."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("text is not valid Unicode.", field="text") from None
    if size > limits.text_bytes:
        raise TooLarge(f"text is over {limits.text_bytes} bytes.", field="text", limit=limits.text_bytes)
    if "\0" in text:
        raise InvalidRequest("text holds a NUL character, which cannot be stored.", field="text")
    return text


def check_kind(kind: str) -> str:
    """The kind itself: a lower-case word of up to 64 characters."""
    if not _KIND.fullmatch(kind):
        raise InvalidRequest("kind must be a lower-case word of up to 64 characters.", field="kind")
    return kind


def check_json(value: Any, name: str, depth: int) -> None:
    """Raise `InvalidRequest` if a JSON value nests too deep or holds what Postgres cannot keep."""
    if isinstance(value, str):
        _check_json_string(value, name)
    elif value is None or isinstance(value, int | float):
        _check_json_number(value or 0, name)
    elif depth <= 0:
        raise InvalidRequest(f"{name} nests too deep.", field=name)
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_json_string(key, name)
            check_json(child, name, depth - 1)
    else:
        for child in value:
            check_json(child, name, depth - 1)


def _check_json_number(value: float, name: str) -> None:
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise InvalidRequest(f"{name} holds an integer of more than 64 bits.", field=name)
    if not math.isfinite(value):
        raise InvalidRequest(f"{name} holds a number that is not finite.", field=name)


def _check_json_string(value: str, name: str) -> None:
    if "\0" in value:
        raise InvalidRequest(f"{name} holds a NUL character, which cannot be stored.", field=name)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"{name} is not valid Unicode.", field=name) from None


def preview(text: str) -> str:
    """The first 140 characters, for an inbox entry."""
    return text[:PREVIEW_CHARACTERS]


def counts_as_unread(kind: str) -> bool:
    """Whether messages of this kind are counted: all but `system` and `redaction`."""
    return kind not in UNCOUNTED_KINDS


def mentions(text: str, members: Collection[str]) -> list[str]:
    """The members mentioned as `@id`, in order, each once. Punctuation after a name is forgiven."""
    if "@" not in text:
        return []
    return list(dict.fromkeys(_resolve(_MENTION.findall(text), members)))


def _resolve(candidates: Iterable[str], members: Collection[str]) -> Iterable[str]:
    for candidate in candidates:
        for name in (candidate, candidate.rstrip(".-_@")):
            if name in members:
                yield name
                break
