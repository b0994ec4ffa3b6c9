"""The newest messages of a conversation, encoded, within bounds of number and bytes, for it and for its process."""

from collections import OrderedDict, deque

ENTRY_BYTES = 128
"""What Python takes for one entry beside its payload."""


class TailMemory:
    """The bytes of a process's tails: beyond the limit, those that were used longest ago are emptied."""

    def __init__(self, max_bytes: int) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._held: OrderedDict[Tail, int] = OrderedDict()

    def used(self, tail: "Tail", size: int) -> None:
        """This tail was used just now, and takes so many bytes."""
        self.bytes += size - self._held.get(tail, 0)
        self._held[tail] = size
        self._held.move_to_end(tail)
        while self.bytes > self._max_bytes:
            next(iter(self._held)).clear()

    def forget(self, tail: "Tail") -> None:
        """This tail is empty."""
        self.bytes -= self._held.pop(tail, 0)


class Tail:
    """A run of consecutive messages that ends with the newest one. It may lose all of them at any time."""

    def __init__(self, max_messages: int, max_bytes: int, memory: TailMemory | None = None) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._memory = memory
        self._entries: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def append(self, seq: int, payload: bytes) -> None:
        """Add the next message; the oldest ones make room."""
        self._entries.append((seq, payload))
        self._bytes += len(payload)
        while self._entries and (len(self._entries) > self._max_messages or self._bytes > self._max_bytes):
            self._bytes -= len(self._entries.popleft()[1])
        self._note_use()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0
        if self._memory is not None:
            self._memory.forget(self)

    def after(self, seq: int) -> list[tuple[int, bytes]] | None:
        """The messages after `seq`, oldest first, or None if the tail does not reach back that far."""
        if not self._entries or self._entries[0][0] > seq + 1:
            return None
        found = [entry for entry in self._entries if entry[0] > seq]
        self._note_use()
        return found

    def _note_use(self) -> None:
        if self._memory is not None:
            self._memory.used(self, self._bytes + ENTRY_BYTES * len(self._entries))
