"""Who has a conversation open, across processes, in Phoenix Presence's shape.

Each process tells the others of its own sockets: a difference at each change, all of them when asked and now and then.
A process that falls silent is forgotten with all of its sockets. Nothing is stored anywhere.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from conversations.append import timestamp

Refs = dict[str, tuple[str, dict[str, Any]]]
"""Sockets by their reference: (participant id, meta)."""

GATHER_SECONDS = 0.05
"""Joins and leaves within this time go out as one diff."""


@dataclass(slots=True)
class _Diff:
    joins: Refs = field(default_factory=dict)
    leaves: Refs = field(default_factory=dict)


class Presence:
    """The presence of one conversation as one process knows it.

    `announce(op, refs)` tells the other processes; `push(event, payload)` tells the local sockets. Beyond `limit` sockets
    nobody is told of changes any more: with n of them each change is n frames, and a list of thousands helps nobody. A
    process with more than that tells the others of one more than `limit`, which is all that they need to know and hold.
    """

    def __init__(
        self,
        announce: Callable[[str, Refs], None],
        push: Callable[[str, Any], None],
        *,
        limit: int,
    ) -> None:
        self._announce = announce
        self._push = push
        self._limit = limit
        self._local: Refs = {}
        self._remote: dict[str, Refs] = {}
        self._diff = _Diff()
        self._crowded = False
        self._timer: asyncio.TimerHandle | None = None

    def join(self, ref: str, participant_id: str, now: Any) -> None:
        """A local socket has joined."""
        refs = {ref: (participant_id, {"phx_ref": ref, "online_at": timestamp(now)})}
        self._local.update(refs)
        if len(self._local) <= self._limit + 1:
            self._announce("join", refs)
        self._changed(refs, {})

    def leave(self, ref: str) -> None:
        """A local socket has left."""
        entry = self._local.pop(ref, None)
        if entry is None:
            return
        if len(self._local) == self._limit:
            self.announce_all()  # they know of some only, perhaps not of this one
        elif len(self._local) < self._limit:
            self._announce("leave", {ref: entry})
        self._changed({}, {ref: entry})

    def announce_all(self) -> None:
        """Tell the other processes of every local socket; of none too, since they may have missed the last one's leave."""
        self._announce("state", dict(islice(self._local.items(), self._limit + 1)))

    def heard(self, process: str, op: str, refs: Refs) -> None:
        """Another process has said `join`, `leave`, `state` or `ask`."""
        known = self._remote.setdefault(process, {})
        if op == "ask":
            self.announce_all()
        elif op == "join":
            known.update(refs)
            self._changed(refs, {})
        elif op == "leave":
            self._changed({}, {ref: entry for ref in refs if (entry := known.pop(ref, None)) is not None})
        else:
            joins = {ref: entry for ref, entry in refs.items() if ref not in known}
            leaves = {ref: entry for ref, entry in known.items() if ref not in refs}
            self._remote[process] = refs
            self._changed(joins, leaves)

    def forget(self, process: str) -> None:
        """Another process is gone."""
        self._changed({}, self._remote.pop(process, {}))

    def state(self) -> dict[str, Any]:
        """Everyone who is here: participant id → `{"metas": [...]}`."""
        if self._sockets > self._limit:
            return {}
        everyone: Refs = dict(self._local)
        for refs in self._remote.values():
            everyone |= refs
        return _grouped(everyone)

    def stop(self) -> None:
        """Send nothing more, and hold on to nobody."""
        if self._timer is not None:
            self._timer.cancel()
        self._announce = self._push = _tell_nobody

    @property
    def _sockets(self) -> int:
        return len(self._local) + sum(len(refs) for refs in self._remote.values())

    def _changed(self, joins: Refs, leaves: Refs) -> None:
        if not joins and not leaves:
            return
        # Clients take the joins of a diff first, then its leaves: no reference may be in both.
        for ref in joins:
            self._diff.leaves.pop(ref, None)
        for ref in leaves:
            self._diff.joins.pop(ref, None)
        self._diff.joins.update(joins)
        self._diff.leaves.update(leaves)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        diff, self._diff = self._diff, _Diff()
        was_crowded, self._crowded = self._crowded, self._sockets > self._limit
        if self._crowded:
            return
        if was_crowded:
            self._push("presence_state", self.state())  # nobody was told of what has changed meanwhile
        else:
            self._push("presence_diff", {"joins": _grouped(diff.joins), "leaves": _grouped(diff.leaves)})


def _tell_nobody(*told: Any) -> None:
    pass


def _grouped(refs: Refs) -> dict[str, Any]:
    grouped: dict[str, Any] = {}
    for participant_id, meta in refs.values():
        grouped.setdefault(participant_id, {"metas": []})["metas"].append(meta)
    return grouped
