"""Text of others at a terminal: it may say anything, and must do nothing."""

from __future__ import annotations

JOINERS = "\u200c\u200d"
"""They shape scripts and emoji, and move nothing."""


def on_one_line(text: str) -> str:
    """The text on one line; what could move a cursor or turn the writing around is shown as a dot."""
    return _harmless(" ".join(text.split()))


def as_lines(text: str) -> list[str]:
    """The lines of the text, one at least, each without anything that could move a cursor."""
    return [_harmless(line.expandtabs(4)) for line in text.splitlines()] or [""]


def _harmless(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in JOINERS else "·" for one in text)


def shortened(text: str, width: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
