"""The chat: a log, a line to write in, and one's inbox beside them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import AppBlur, AppFocus, Resize
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, OptionList, Static, TextArea

from fleetlm_client import FleetLMError
from fleetlm_client.cli.plain_text import on_one_line
from fleetlm_client.cli.terminal import styles
from fleetlm_client.cli.terminal.composer import Composer
from fleetlm_client.cli.terminal.dialogs import Keys, Whom
from fleetlm_client.cli.terminal.inbox_list import InboxList, title_of
from fleetlm_client.cli.terminal.items import activity, items_of
from fleetlm_client.cli.terminal.layout import fitted
from fleetlm_client.cli.terminal.log_view import LogView
from fleetlm_client.cli.terminal.room import Room
from fleetlm_client.cli.terminal.transcript import Record
from fleetlm_client.cli.whom import conversation_with

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

NARROW = 84
"""Fewer cells have no room for the list."""

FRAME_SECONDS = 1 / 30
"""However fast an answer comes, it is drawn so often."""

STATUS = {
    "online": ("●", "$text-success", "online"),
    "connecting": ("○", "$text-warning", "connecting …"),
    "offline": ("○", "$text-error", "offline, trying again"),
}


class ChatApp(App[None]):
    """One participant's conversations, one of them open."""

    TITLE = "FleetLM"
    CSS = styles.CHAT
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop the answer", priority=True, show=False),
        Binding("f1", "keys", "Keys", key_display="?"),
        Binding("ctrl+b", "list", "List", priority=True),
        Binding("ctrl+n", "beside(1)", "Next", priority=True),
        Binding("ctrl+p", "beside(-1)", "Previous", priority=True, show=False),
        Binding("ctrl+o", "ask_whom", "Talk to", priority=True),
        Binding("ctrl+r", "retry", "Send again", priority=True, show=False),
        Binding("ctrl+t", "take_back", "Take back", priority=True, show=False),
        Binding("pageup", "page(-1)", "Older", priority=True, show=False),
        Binding("pagedown", "page(1)", "Newer", priority=True, show=False),
        Binding("ctrl+home", "first", "First", priority=True, show=False),
        Binding("ctrl+end", "newest", "Newest", priority=True, show=False),
        Binding("ctrl+c", "copy_or_quit", "Leave", priority=True, show=False),
        Binding("ctrl+q", "quit", "Leave", priority=True),
    ]

    def __init__(self, fleet: AsyncFleetLM, me: str, key: str) -> None:
        super().__init__()
        self._fleet = fleet
        self._me = me
        self._rooms: dict[str, Room] = {}
        self.room = self._room_of(key)
        self._entries: dict[str, Record] = {}
        self._focused = True
        self._frame_is_due = False
        self._top = Static(id="top")
        self._inbox = InboxList(me, id="inbox")
        self._log_view = LogView(id="log")
        self._activity = Static(id="activity")
        self.composer = Composer(id="composer")

    def compose(self) -> ComposeResult:
        """The list, the log, the line."""
        yield self._top
        with Horizontal(id="middle"):
            yield self._inbox
            with Vertical(id="room"):
                yield self._log_view
                yield self._activity
                yield self.composer
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin."""
        self.composer.focus()
        self._open(self.room)
        self._follow_inbox()

    async def on_unmount(self) -> None:
        """End what was begun."""
        for room in self._rooms.values():
            await room.close()

    @property
    def _chat(self) -> Screen[object]:
        """The screen below every dialog."""
        return self.screen_stack[0]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """While a dialog is open, the keys are its own."""
        return not isinstance(self.screen, ModalScreen) or action in ("stop", "quit", "dismiss")

    # What comes from the server.

    def _room_of(self, key: str) -> Room:
        if key not in self._rooms:
            self._rooms[key] = Room(self._fleet, key, self._me, self._changed)
        return self._rooms[key]

    def _open(self, room: Room) -> None:
        self.room = room
        # One at a time: it ends the one before.
        self.run_worker(room.follow(), group="room", exclusive=True)
        self._changed(room)

    @work
    async def _follow_inbox(self) -> None:
        # Whose token is for some conversations only has no inbox: the chat goes without.
        with contextlib.suppress(FleetLMError):
            async for entries, removed in self._fleet.follow_inbox():
                for key in removed:
                    self._entries.pop(key, None)
                self._entries.update({one.key: one.raw for one in entries})
                self._changed(self.room)

    def _changed(self, room: Room) -> None:
        """Draw anew, soon and once for all that changes until then."""
        if room is self.room and self.is_running and not self._frame_is_due:
            self._frame_is_due = True
            self.set_timer(FRAME_SECONDS, self._draw)

    # What is drawn.

    def _draw(self) -> None:
        self._frame_is_due = False
        transcript = self.room.transcript
        self._log_view.show(items_of(transcript))
        self.composer.placeholder = f"Write to {self._title()}"
        self._activity.update(Content(activity(transcript)))
        self._top.update(self._headline())
        newest_first = sorted(self._entries.values(), key=lambda one: str(one["updated_at"]), reverse=True)
        self._inbox.show(newest_first, self.room.key)
        self._look()

    def _headline(self) -> Content:
        sign, colour, status = STATUS.get(self.room.status, ("○", "$text-error", self.room.status))
        there = sorted(self.room.transcript.present - {self._me})
        right = Content.assemble((f"{on_one_line(self._me)}  ", "dim"), (f"{sign} {status}", colour))
        room = max(self.size.width - 3 - right.cell_length, 1)
        left = Content.assemble((fitted(self._title(), room), "bold"))
        with_others = Content.assemble(left, (f"  {_there(there)}" if there else "", "dim"))
        left = with_others if with_others.cell_length <= room else left
        return Content.assemble(left, " " * (room + 1 - left.cell_length), right)

    def _title(self) -> str:
        entry = self._entries.get(self.room.key) or {"key": self.room.key, "dm_key": self.room.dm_key}
        return title_of(entry, self._me)

    def _look(self) -> None:
        """Whatever is on the screen while one looks at it is read."""
        if self._focused and self._log_view.at_end:
            self.room.look()

    # What one does.

    @on(Composer.Sent)
    def _send(self, event: Composer.Sent) -> None:
        self.room.send(event.text)
        self.action_newest()

    @on(TextArea.Changed)
    def _typing(self, event: TextArea.Changed) -> None:
        self.room.typing(bool(event.text_area.text))

    @on(LogView.OlderWanted)
    def _older(self) -> None:
        self.room.load_older()

    @on(LogView.Looked)
    def _looked(self) -> None:
        self._look()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self._go(self._inbox.key_at(event.option_index))

    def _go(self, key: str) -> None:
        self._chat.remove_class("listing")
        self.composer.focus()
        if key != self.room.key:
            self.room.typing(False)
            self._open(self._room_of(key))

    def on_resize(self, event: Resize) -> None:
        """Hide the list where it has no room."""
        self._chat.set_class(event.size.width < NARROW, "narrow")
        self._changed(self.room)

    def on_app_blur(self, event: AppBlur) -> None:
        """What comes now is new when one looks again."""
        self._focused = False

    def on_app_focus(self, event: AppFocus) -> None:
        """One looks again."""
        self._focused = True
        self.room.transcript.mark_unread()
        self._changed(self.room)

    def action_stop(self) -> None:
        """Close what lies over the chat, or stop what agents are writing."""
        if isinstance(self.screen, ModalScreen):
            self.screen.dismiss("")
        elif self._chat.has_class("listing"):
            self._go(self.room.key)
        else:
            self.room.stop()

    @on(Composer.HelpWanted)
    def action_keys(self) -> None:
        """Show the keys."""
        self.push_screen(Keys(), self._write)

    def _write(self, text: str | None) -> None:
        self.composer.insert(text or "")

    def action_list(self) -> None:
        """Go to the list, and back."""
        if self._inbox.has_focus:
            self._go(self.room.key)
        else:
            self._chat.add_class("listing")
            self._inbox.focus()

    def action_beside(self, step: int) -> None:
        """Go to the next conversation of the list."""
        key = self._inbox.beside(step)
        if key is not None:
            self._go(key)

    @work
    async def action_ask_whom(self) -> None:
        """Talk to someone else."""
        whom = await self.push_screen_wait(Whom())
        if whom:
            try:
                self._go(await conversation_with(self._fleet, self._me, whom))
            except FleetLMError as error:
                self.notify(on_one_line(error.message), severity="error", markup=False)

    def action_retry(self) -> None:
        """Send again what was refused."""
        self.room.retry()

    def action_take_back(self) -> None:
        """Write anew what was refused."""
        self._write(self.room.take_back())

    def action_page(self, step: int) -> None:
        """Scroll the log by a screen."""
        log = self._log_view
        log.scroll_relative(y=step * max(log.size.height - 2, 1), animate=False)

    def action_first(self) -> None:
        """To the first message that is here."""
        self._log_view.scroll_home_now()

    def action_newest(self) -> None:
        """To the newest message."""
        self._log_view.scroll_end(animate=False)

    def action_copy_or_quit(self) -> None:
        """Copy what is selected, or leave."""
        selected = self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
        else:
            self.exit()


def _there(others: list[str]) -> str:
    if len(others) > 3:
        return f"{len(others)} others are here"
    return f"{on_one_line(', '.join(others))} {'is' if len(others) == 1 else 'are'} here"
