"""JSON of agents, made fit to be stored. Pure."""

import json
import re
from typing import Any, Final

import orjson

from agents.errors import AnswerInvalid

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What JSON can say and Postgres cannot keep: NUL, and half of a surrogate pair."""


def load(payload: str | bytes) -> Any:
    """The value of a JSON text, with every character that cannot be stored replaced by U+FFFD.

    Agents that cut text by UTF-16 units send half an emoji now and then; that is no reason to lose their answer.
    Raises `AnswerInvalid` for what is not JSON.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return _load_halves(payload, error)
    return _cleaned(value) if _has_escape(payload, "\\u0000") else value


def dump(value: Any) -> str:
    """The JSON text of a value that `load` gave."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise AnswerInvalid("The answer's JSON cannot be kept.") from None


def clean(text: str) -> str:
    """The text, with every character that cannot be stored replaced by U+FFFD."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def _load_halves(payload: str | bytes, error: orjson.JSONDecodeError) -> Any:
    # orjson refuses half a surrogate pair, the standard library does not.
    if not _has_escape(payload, "\\ud"):
        raise AnswerInvalid(f"The answer is not JSON: {error}") from None
    try:
        value = json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise AnswerInvalid(f"The answer is not JSON: {error}") from None
    return _cleaned(value)


def _has_escape(payload: str | bytes, escape: str) -> bool:
    found = escape in payload if isinstance(payload, str) else escape.encode() in payload
    return found or (escape == "\\ud" and _has_escape(payload, "\\uD"))


def _cleaned(value: Any) -> Any:
    try:
        return _clean_all(value)
    except RecursionError:
        raise AnswerInvalid("The answer's JSON nests too deep.") from None


def _clean_all(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_all(child) for child in value]
    if isinstance(value, dict):
        return {clean(key): _clean_all(child) for key, child in value.items()}
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)
