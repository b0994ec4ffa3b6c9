"""Options of endpoints, checked when they are set. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from conversations.errors import InvalidRequest

Kind = tuple[str, Callable[[Any], bool]]
"""What an option must be: in words, and as a test."""

TEXT: Final[Kind] = ("a string", lambda value: isinstance(value, str))
NUMBER: Final[Kind] = ("a number", lambda value: _is_number(value, int | float))
WHOLE: Final[Kind] = ("a positive integer", lambda value: _is_number(value, int) and value > 0)
YES_OR_NO: Final[Kind] = ("true or false", lambda value: isinstance(value, bool))
OBJECT: Final[Kind] = ("an object", lambda value: isinstance(value, dict))
OBJECTS: Final[Kind] = ("a list of objects", lambda value: _is_list_of(value, dict))
TEXTS: Final[Kind] = (
    "a string or a list of strings",
    lambda value: isinstance(value, str) or _is_list_of(value, str),
)
ANYTHING: Final[Kind] = ("any JSON", lambda value: True)


def check(options: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise `InvalidRequest` for an option that is not of its kind, or that no kind is named for. Null is as absent."""
    for name, value in options.items():
        kind = kinds.get(name)
        if kind is None:
            raise InvalidRequest(f"options.{name} is not one of {', '.join(kinds)}.", field="options")
        words, holds = kind
        if value is not None and not holds(value):
            raise InvalidRequest(f"options.{name} must be {words}.", field="options")


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
