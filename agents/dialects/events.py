"""Framing of streamed answers, bytes in and payloads out: Server-Sent Events and lines of JSON. No I/O.

A decoder takes the body in whatever pieces the network brings and gives back each payload once it is whole.
Both refuse, as `AnswerInvalid`, what is not UTF-8 and an event or line of more than `EVENT_BYTES_MAX`.
"""

from typing import Final, Protocol

from agents.errors import AnswerInvalid

EVENT_BYTES_MAX: Final = 1024 * 1024
"""The most bytes of one event or line, so that an agent which never ends one costs no memory."""

_BOM: Final = b"\xef\xbb\xbf"


class Decoder(Protocol):
    """Turns pieces of a body into payloads."""

    def feed(self, data: bytes) -> list[str]:
        """The payloads that this piece completes, in order."""

    def end(self) -> list[str]:
        """The payload that the end of the body completes, if there is one."""


class EventStream:
    """Server-Sent Events, as the WHATWG HTML standard (§9.2.6) reads them; gives each event's data.

    `event`, `id` and `retry` are read over: no dialect needs them. Unlike a browser it also gives an event that
    the end of the body cuts off before its empty line, for agents that forget it.
    """

    def __init__(self) -> None:
        self._lines = _Lines(cut_at_cr=True)
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """The data of every event that this piece completes."""
        payloads = []
        for line in self._lines.feed(data):
            if line:
                self._field(line)
            elif self._data:
                payloads.append(self._dispatch())
        return payloads

    def end(self) -> list[str]:
        """The data of a last event without an empty line after it."""
        for line in self._lines.end():
            self._field(line)
        return [self._dispatch()] if self._data else []

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        self._size += len(value) + 1
        if self._size > EVENT_BYTES_MAX:
            raise _too_long("An event")
        self._data.append(value[1:] if value[:1] == b" " else value)

    def _dispatch(self) -> str:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data, self._size = [], 0
        return _text(data)


class LineStream:
    """One JSON value a line (NDJSON, JSON Lines); lines that are blank are read over."""

    def __init__(self) -> None:
        self._lines = _Lines(cut_at_cr=False)

    def feed(self, data: bytes) -> list[str]:
        """Every line that this piece completes."""
        return [_text(line) for line in self._lines.feed(data) if line and not line.isspace()]

    def end(self) -> list[str]:
        """The last line, if no line feed follows it."""
        return [_text(line) for line in self._lines.end() if not line.isspace()]


class _Lines:
    """Cuts a body into lines: at LF, at CR LF and, if that is asked for, at a CR alone."""

    def __init__(self, *, cut_at_cr: bool) -> None:
        self._cut_at_cr = cut_at_cr
        self._rest: list[
            bytes
        ] = []  # of a line that has not ended; joined once, so that no byte is copied twice
        self._size = 0
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        if self._after_cr and data:
            # The LF of a CR LF that came in two pieces: its line has been given already.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._cut_at_cr and (self._after_cr or data.endswith(b"\r"))
        lines = self._cut(data)
        last = lines.pop()
        if not lines:
            self._keep(last)
            return []
        lines[0] = self._first(lines[0])
        self._keep(last)
        return lines

    def end(self) -> list[bytes]:
        line = self._first(b"")
        return [line] if line else []

    def _cut(self, data: bytes) -> list[bytes]:
        if b"\r" not in data:
            return data.split(b"\n")
        data = data.replace(b"\r\n", b"\n")
        return data.replace(b"\r", b"\n").split(b"\n") if self._cut_at_cr else data.split(b"\n")

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > EVENT_BYTES_MAX:
            raise _too_long("A line")
        if piece:
            self._rest.append(piece)

    def _first(self, end: bytes) -> bytes:
        self._keep(end)
        line = b"".join(self._rest)
        self._rest, self._size = [], 0
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        return line


def _text(data: bytes) -> str:
    if len(data) > EVENT_BYTES_MAX:
        raise _too_long("A line")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AnswerInvalid("The stream is not valid UTF-8.") from None


def _too_long(what: str) -> AnswerInvalid:
    return AnswerInvalid(f"{what} of the stream is over {EVENT_BYTES_MAX} bytes.")
