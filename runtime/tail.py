"""The newest messages of a conversation, encoded, within bounds of number and bytes."""

from collections import deque


class Tail:
    """A run of consecutive messages that ends with the newest one."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._entries: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def append(self, seq: int, payload: bytes) -> None:
        """Add the next message; the oldest ones make room."""
        self._entries.append((seq, payload))
        self._bytes += len(payload)
        while self._entries and (len(self._entries) > self._max_messages or self._bytes > self._max_bytes):
            self._bytes -= len(self._entries.popleft()[1])

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def after(self, seq: int) -> list[tuple[int, bytes]] | None:
        """The messages after `seq`, oldest first, or None if the tail does not reach back that far."""
        if not self._entries or self._entries[0][0] > seq + 1:
            return None
        first = self._entries[0][0]
        return [entry for entry in self._entries if entry[0] > seq] if seq >= first - 1 else None
