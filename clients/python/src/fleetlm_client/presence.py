"""Who has a conversation open, out of Phoenix Presence's states and diffs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .events import PresenceEvent

Metas = Mapping[str, Mapping[str, Any]]
"""`{"alice": {"metas": [{"phx_ref": …}]}}`"""


class Presence:
    """Participants with the references of their sockets: one is here as long as it has any."""

    def __init__(self) -> None:
        self._refs: dict[str, set[str]] = {}

    @property
    def present(self) -> tuple[str, ...]:
        """Who is here, in the order of their names."""
        return tuple(sorted(self._refs))

    def sync(self, state: Metas) -> PresenceEvent | None:
        """A whole state, which replaces what was known; None if nobody has come or gone."""
        before = set(self._refs)
        self._refs = {name: refs for name, one in state.items() if (refs := _refs(one))}
        return self._changed(before)

    def diff(self, joins: Metas, leaves: Metas) -> PresenceEvent | None:
        """Sockets that came and went; None if all of them belong to those who are here before and after."""
        before = set(self._refs)
        for name, one in joins.items():
            self._refs.setdefault(name, set()).update(_refs(one))
        for name, one in leaves.items():
            left = self._refs.get(name, set()) - _refs(one)
            if left:
                self._refs[name] = left
            else:
                self._refs.pop(name, None)
        return self._changed(before)

    def _changed(self, before: set[str]) -> PresenceEvent | None:
        now = set(self._refs)
        if now == before:
            return None
        return PresenceEvent(self.present, tuple(sorted(now - before)), tuple(sorted(before - now)))


def _refs(one: Mapping[str, Any]) -> set[str]:
    return {meta["phx_ref"] for meta in one.get("metas", ())}
