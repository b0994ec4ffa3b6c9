"""Who is typing in one conversation. It ends by itself, so that a lost `off` cannot keep someone typing for ever."""

import asyncio
from collections.abc import Callable

TYPING_SECONDS = 6.0

TYPING_LIMIT = 100
"""So many are shown at a time in one conversation; nobody reads a longer list."""


class Typing:
    """Tells `changed(participant_id, on)` of each change."""

    def __init__(self, changed: Callable[[str, bool], None]) -> None:
        self._changed = changed
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def active(self) -> list[str]:
        """Who types now."""
        return list(self._timers)

    def set(self, participant_id: str, on: bool) -> None:
        """Someone types, or has stopped. Said again, it starts the six seconds again."""
        if on and participant_id not in self._timers and len(self._timers) >= TYPING_LIMIT:
            return
        timer = self._timers.pop(participant_id, None)
        if timer is not None:
            timer.cancel()
        if on:
            loop = asyncio.get_running_loop()
            self._timers[participant_id] = loop.call_later(TYPING_SECONDS, self.set, participant_id, False)
        if on != (timer is not None):
            self._changed(participant_id, on)

    def stop(self) -> None:
        """Forget everyone, silently, and hold on to nobody."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._changed = _tell_nobody


def _tell_nobody(participant_id: str, on: bool) -> None:
    pass
