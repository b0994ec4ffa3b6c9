"""Takes the compression off an answer, a bounded piece at a time: a small bomb never becomes a large memory."""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from agents.errors import AnswerInvalid

PIECE_BYTES: Final = 64 * 1024
SLICE_BYTES: Final = 8 * 1024

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class Decoder(Protocol):
    """What is done to the bytes of an answer."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the bytes become. Raises `AnswerInvalid` if they cannot be read."""

    @property
    def is_whole(self) -> bool:
        """Whether an answer may end here."""


class Plain:
    """An answer that is not compressed, as we ask for."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes themselves."""
        yield data

    @property
    def is_whole(self) -> bool:
        """At any place."""
        return True


class Inflater:
    """`gzip` (one member or several) or `deflate` (with zlib's wrapping, or, as some send it, without)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._is_gzip = encoding == "gzip"
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most `PIECE_BYTES`."""
        # In slices, because zlib copies the rest of its input wherever it stops.
        for start in range(0, len(data), SLICE_BYTES):
            yield from self._feed(data[start : start + SLICE_BYTES])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        more_inside = False
        while data or more_inside:
            inflate = self._member(data)
            try:
                piece = inflate.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise self._unreadable(str(error)) from None
            if piece:
                yield piece
            more_inside = len(piece) == PIECE_BYTES and not inflate.eof
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail

    def _member(self, data: bytes) -> "zlib._Decompress":
        """The member that the data is of: the one that is not over yet, or the next."""
        if self._inflate is None:
            self._inflate = zlib.decompressobj(_GZIP if self._is_gzip else _wrapping(data[0]))
        elif self._inflate.eof:
            if not self._is_gzip:
                raise self._unreadable("it goes on after its end")
            self._inflate = zlib.decompressobj(_GZIP)
        return self._inflate

    @property
    def is_whole(self) -> bool:
        """At the end of a member, or before the first."""
        return self._inflate is None or self._inflate.eof

    def _unreadable(self, reason: str) -> AnswerInvalid:
        return AnswerInvalid(f"The answer is not readable as content-encoding {self._encoding}: {reason}.")


def decoder(content_encoding: str) -> Decoder:
    """The decoder of an answer with this header. Raises `AnswerInvalid` for an encoding that we did not ask for."""
    encoding = content_encoding.strip().lower().removeprefix("x-")
    if encoding in {"", "identity"}:
        return Plain()
    if encoding in {"gzip", "deflate"}:
        return Inflater(encoding)
    raise AnswerInvalid(
        f"The answer has content-encoding {encoding[:40]!r}; send it uncompressed, as the call asks for."
    )


def _wrapping(first: int) -> int:
    # RFC 1950: the low four bits of a zlib stream's first byte are 8. In a bare deflate stream they can be so only for
    # a stored block with odd padding, which nobody writes.
    return _ZLIB if first & 0x0F == 8 else _RAW
