"""What the log of attempts keeps of a request and an answer: the head, and the first bytes of the body. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

HIDDEN: Final = "…"
_SECRET: Final = frozenset({"authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"})


def request_text(
    url: str, headers: Mapping[str, str], custom: Collection[str], body: bytes, limit: int
) -> str:
    """`POST <url>`, the headers (names in lower case), an empty line, and up to `limit` bytes of the body.

    Values of custom headers and of keys are hidden.
    """
    hidden = {name.lower() for name in custom} | _SECRET
    return _text(f"POST {url}", headers, hidden, body, limit)


def answer_text(status: int, headers: Mapping[str, str], body: bytes, limit: int) -> str:
    """The status, the headers, an empty line, and up to `limit` bytes of the body."""
    return _text(str(status), headers, _SECRET, body, limit)


def _text(first: str, headers: Mapping[str, str], hidden: Collection[str], body: bytes, limit: int) -> str:
    lines = [f"{name}: {HIDDEN if name in hidden else value}"[:1_000] for name, value in headers.items()]
    shown = body[:limit].decode(errors="replace")
    return "\n".join([first[:2_100], *lines[:64], "", shown])
