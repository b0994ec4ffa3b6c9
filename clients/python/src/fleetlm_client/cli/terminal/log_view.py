"""The log on the screen: any number of messages, of which only the rows that are seen are drawn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from rich.text import Text
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from fleetlm_client.cli.terminal.items import SENDERS, Item, Said
from fleetlm_client.cli.terminal.layout import Row, rows_of

NEAR = 2
"""So many rows from the top, older messages are asked for."""


class LogView(ScrollView, can_focus=False):
    """Items from top to bottom. It stays at the end while it is there, and otherwise where one reads."""

    COMPONENT_CLASSES = {
        "log--text", "log--dim", "log--time", "log--day", "log--marker", "log--failed", "log--own",
        *(f"log--sender{number}" for number in range(SENDERS)),
    }  # fmt: skip

    class OlderWanted(Message):
        """One looks at the first messages that are here."""

    class Looked(Message):
        """Other rows are seen than before."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._items: list[Item] = []
        self._rows_of: list[list[Row]] = []
        self._rows: list[Row] = []
        self._starts: list[int] = []
        self._width = 0
        self.at_end = True
        """Whether the newest row is seen. A smaller screen does not change it, only who scrolls."""

    def show(self, items: Sequence[Item]) -> None:
        """Show these items instead of those before. What one reads stays where it is."""
        anchor = self._anchor()
        known = dict(zip(self._items, self._rows_of, strict=True))
        self._items = list(items)
        self._rows_of = [known.get(item) or rows_of(item, self._width) for item in self._items]
        self._place(anchor)

    def scroll_home_now(self) -> None:
        """To the first row that is here."""
        self.scroll_to(y=0, animate=False, immediate=True)

    def _place(self, anchor: tuple[str, int] | None) -> None:
        """Put the rows below each other, and look at the end, or at the same message as before."""
        was_at_end = self.at_end
        self._rows, self._starts = [], []
        for rows in self._rows_of:
            self._starts.append(len(self._rows))
            self._rows += rows
        self.virtual_size = Size(self._width, len(self._rows))
        self.refresh()
        if was_at_end:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif anchor is not None:
            self._scroll_back(*anchor)
        self.at_end = was_at_end
        if self._items and self.max_scroll_y == 0:
            self.post_message(self.OlderWanted())

    def _anchor(self) -> tuple[str, int] | None:
        """The first message that begins on the screen, and how many rows below the top it ends.

        It is known by its id and its end: what comes before it may give it another head.
        """
        top = self.scroll_offset.y
        for place in range(bisect_left(self._starts, top), len(self._items)):
            item = self._items[place]
            if isinstance(item, Said):
                return item.id, self._starts[place] + len(self._rows_of[place]) - top
        return None

    def _scroll_back(self, item_id: str, below: int) -> None:
        for item, rows, start in zip(self._items, self._rows_of, self._starts, strict=True):
            if isinstance(item, Said) and item.id == item_id:
                self.scroll_to(y=start + len(rows) - below, animate=False, immediate=True)
                return

    def on_resize(self, event: Resize) -> None:
        """Wrap everything anew when the width has changed."""
        width, anchor = self.scrollable_content_region.width, self._anchor()
        if width != self._width:
            self._width = width
            self._rows_of = [rows_of(item, width) for item in self._items]
        self._place(anchor)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for older messages near the top."""
        super().watch_scroll_y(old_value, new_value)
        self.at_end = new_value >= self.max_scroll_y
        self.post_message(self.Looked())
        if new_value <= NEAR and self.max_scroll_y > 0:
            self.post_message(self.OlderWanted())

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text that is selected."""
        return selection.extract("\n".join("".join(text for text, _ in row) for row in self._rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show what is selected."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        place = self.scroll_offset.y + y
        if place >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        text = Text.assemble(
            *((piece, self.get_component_rich_style(f"log--{role}")) for piece, role in self._rows[place]),
            end="",
            no_wrap=True,
        )
        self._show_selection(text, place)
        strip = Strip(text.render(self.app.console))
        return strip.crop_extend(0, self.size.width, self.rich_style).apply_offsets(0, place)

    def _show_selection(self, text: Text, place: int) -> None:
        selected = self.text_selection
        span = None if selected is None else selected.get_span(place)
        if span is not None:
            start, end = span
            style = self.screen.get_component_rich_style("screen--selection")
            text.stylize(style, start, len(text) if end == -1 else end)
