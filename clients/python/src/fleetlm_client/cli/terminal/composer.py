"""Where one writes: Enter sends, Ctrl-J begins a new line."""

from __future__ import annotations

from textual.events import Key
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """A message that is being written."""

    class Sent(Message):
        """It is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class HelpWanted(Message):
        """A question mark where nothing else is."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus", compact=True)

    async def _on_key(self, event: Key) -> None:
        # Textual goes on with the handler of TextArea, unless its default is prevented.
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._send()
        elif event.key in ("ctrl+j", "shift+enter", "alt+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif event.character == "?" and not self.text:
            event.stop()
            event.prevent_default()
            self.post_message(self.HelpWanted())

    def _send(self) -> None:
        text = self.text.strip()
        if text:
            self.text = ""
            self.post_message(self.Sent(text))
