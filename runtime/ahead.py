"""Messages that came before their turn: kept within bounds, since what is not kept is fetched from Postgres."""

from typing import Final

LIMIT: Final = 200
"""Messages that one conversation keeps."""

BYTES: Final = 4 * 1024 * 1024
"""Bytes of them, payloads only."""

PROCESS_BYTES: Final = 64 * 1024 * 1024
"""Bytes that all conversations of a process keep together."""


class Room:
    """Bytes that many share."""

    def __init__(self, size: int = PROCESS_BYTES) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """Whether there was room for it; then it is taken."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        """It is needed no more."""
        self.left += size


class Ahead:
    """The early messages of one conversation by seq, each with the version that it was appended at."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._entries: dict[int, tuple[int, bytes]] = {}
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, seq: int, version: int, payload: bytes) -> bool:
        """Whether it is kept."""
        if seq in self._entries:
            return True
        size = len(payload)
        if len(self._entries) >= LIMIT or self._bytes + size > BYTES or not self._room.take(size):
            return False
        self._entries[seq] = (version, payload)
        self._bytes += size
        return True

    def version_of(self, seq: int) -> int | None:
        """The version of a message that is kept."""
        entry = self._entries.get(seq)
        return None if entry is None else entry[0]

    def take(self, seq: int) -> bytes | None:
        """A message that is kept, which is then kept no more."""
        entry = self._entries.pop(seq, None)
        if entry is None:
            return None
        self._bytes -= len(entry[1])
        self._room.give_back(len(entry[1]))
        return entry[1]

    def forget(self, up_to: int | None = None) -> None:
        """Keep nothing more of what comes up to this seq; nothing at all without one."""
        for seq in [seq for seq in self._entries if up_to is None or seq <= up_to]:
            self.take(seq)
