"""From items to the rows of a screen: words wrapped by the cells they take, and who says them beside the text."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells, set_cell_size

from fleetlm_client.cli.terminal.items import Day, Item, Marker, Said

Row = tuple[tuple[str, str], ...]
"""Pieces of a row: each its text and its role, which the screen gives a colour."""

TIME_WIDTH = 7
"""Where the text begins."""

LONGEST_LINE = 100
"""Wider is hard to read."""

_WORDS = re.compile(r"\s+|\S+")


def rows_of(item: Item, width: int) -> list[Row]:
    """The rows of an item on a screen that is so many cells wide; 1 at least."""
    if isinstance(item, Day):
        return [(), _rule(item.name, "day", width)]
    if isinstance(item, Marker):
        if item.role == "marker":
            return [(), _rule(item.text, item.role, width)]
        return [
            (),
            *(((" " * TIME_WIDTH, "text"), (line, item.role)) for line in wrapped(item.text, _room(width))),
        ]
    return _said(item, width)


def _said(item: Said, width: int) -> list[Row]:
    rows: list[Row] = []
    if item.name:
        rows += [(), ((f" {item.time:<5} ", "time"), (item.name, item.name_role))]
    margin = (" " * TIME_WIDTH, "text")
    if item.quote:
        rows += [(margin, ("│ " + line, "dim")) for line in wrapped(item.quote, _room(width) - 2)[:1]]
    for line in item.lines:
        rows += [(margin, (part, item.role)) for part in wrapped(line, _room(width))]
    if item.note:
        rows += [(margin, (line, item.note_role)) for line in wrapped(item.note, _room(width))]
    return rows


def _rule(text: str, role: str, width: int) -> Row:
    text = f" {fitted(text, width - 2)} "
    left = max((min(width, LONGEST_LINE + TIME_WIDTH) - cell_len(text)) // 2, 0)
    return (("─" * left + text + "─" * left, role),)


def _room(width: int) -> int:
    return max(min(width - TIME_WIDTH - 1, LONGEST_LINE), 1)


def fitted(text: str, width: int) -> str:
    """The text, cut to so many cells."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def wrapped(line: str, width: int) -> list[str]:
    """A line broken between words, and within those that are too long, so that each part fits into so many cells."""
    parts, part = [], ""
    for word in _WORDS.findall(line):
        if cell_len(part) + cell_len(word) <= width:
            part += word
        elif word.isspace():
            parts.append(part)
            part = ""
        else:
            *full, last = chop_cells(word, width) if cell_len(word) > width else [word]
            parts += [part.rstrip(), *full] if part.strip() else full
            part = last
    parts.append(part)
    return [one.rstrip() for one in parts] if len(parts) > 1 else parts
