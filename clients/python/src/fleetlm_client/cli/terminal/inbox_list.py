"""The list of one's conversations beside the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fleetlm_client.cli.plain_text import on_one_line
from fleetlm_client.cli.terminal.items import moment_of
from fleetlm_client.cli.terminal.layout import fitted
from fleetlm_client.cli.terminal.transcript import Record


def title_of(entry: Record, me: str) -> str:
    """What a conversation is called: its title, the others in it, or its key."""
    if entry.get("title"):
        return on_one_line(entry["title"])
    if entry.get("dm_key"):
        others = [one for one in entry["dm_key"].split(":") if one != me]
        return on_one_line(others[0] if others else me)
    return on_one_line(entry["key"])


class InboxList(OptionList):
    """Conversations, newest first, with their unread counts."""

    def __init__(self, me: str, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._me = me
        self._shown: Sequence[Record] = ()
        self._width = 0
        self.current = ""

    def show(self, entries: Sequence[Record], current: str) -> None:
        """Show these, the newest first, with the current one highlighted."""
        width = self.scrollable_content_region.width
        if (entries, current, width) == (self._shown, self.current, self._width):
            return
        self._shown, self.current, self._width = entries, current, width
        self.set_options([Option(self._prompt(one), id=f"c{place}") for place, one in enumerate(entries)])
        keys = [one["key"] for one in entries]
        self.highlighted = keys.index(current) if current in keys else None

    def on_resize(self, event: Resize) -> None:
        """Fit them into the new width."""
        self.show(self._shown, self.current)

    def key_at(self, place: int) -> str:
        """The key of the conversation at this place."""
        return str(self._shown[place]["key"])

    def beside(self, step: int) -> str | None:
        """The conversation that many places further on, round and round; None where there is none."""
        if not self._shown:
            return None
        keys = [one["key"] for one in self._shown]
        place = keys.index(self.current) + step if self.current in keys else 0
        return str(keys[place % len(keys)])

    def _prompt(self, entry: Record) -> Content:
        unread = "" if entry["key"] == self.current else _count(entry)
        title = fitted(title_of(entry, self._me), self._width - len(unread) - 1)
        head = Content.assemble(
            (title, "bold" if unread else ""),
            " " * max(self._width - cell_len(title) - len(unread), 1),
            (unread, "bold $warning"),
        )
        return Content("\n").join([head, Content.styled(fitted(_preview(entry), self._width), "dim")])


def _count(entry: Record) -> str:
    if not entry["unread_count"]:
        return ""
    return f"{'@' if entry['mention_count'] else ''}{min(entry['unread_count'], 999)}"


def _preview(entry: Record) -> str:
    last = entry["last_message"]
    if last is None:
        return ""
    at = moment_of(datetime.fromisoformat(last["created_at"].replace("Z", "+00:00")).astimezone())
    return f"{at} {on_one_line(last['text'])}"
