"""What lies over the chat for a moment: the keys, and whom to talk to."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from fleetlm_client.cli.terminal import styles

KEYS = [
    ("enter", "send"),
    ("ctrl+j", "new line"),
    ("esc", "stop the answer"),
    ("ctrl+r", "send again what was refused"),
    ("ctrl+t", "take back what was refused"),
    ("page up, page down", "older and newer messages"),
    ("ctrl+home, ctrl+end", "the first and the newest"),
    ("ctrl+n, ctrl+p", "next and previous conversation"),
    ("ctrl+b", "the list of conversations"),
    ("ctrl+o", "talk to someone else"),
    ("? or f1", "these keys; ? again writes one"),
    ("ctrl+q", "leave"),
]


class Keys(ModalScreen[str]):
    """The keys. Any key closes it; the result is what is to be written."""

    DEFAULT_CSS = styles.DIALOG

    def compose(self) -> ComposeResult:
        """A table of two columns."""
        width = max(len(key) for key, _ in KEYS)
        lines = [Content.assemble((f"{key:<{width}}  ", "bold"), what) for key, what in KEYS]
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static(Content("\n").join(lines))

    def on_key(self, event: Key) -> None:
        """Close."""
        event.stop()
        self.dismiss("?" if event.character == "?" else "")


class Whom(ModalScreen[str]):
    """Asks whom to talk to. The result is an id or a key, empty for none."""

    DEFAULT_CSS = styles.DIALOG
    BINDINGS = [Binding("escape", "dismiss('')", "Back")]

    def compose(self) -> ComposeResult:
        """One question."""
        with Vertical(classes="dialog"):
            yield Static("Whom do you want to talk to? An id, or the key of a conversation.")
            yield Input(placeholder="echo-bot", id="whom")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answered."""
        self.dismiss(event.value.strip())
