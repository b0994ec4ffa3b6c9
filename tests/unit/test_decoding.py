"""Compressed answers, piece by piece."""

import zlib

import pytest

from agents.door.decoding import PIECE_BYTES, Inflater


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_last_bytes_are_not_left_inside(encoding: str, wbits: int, step: int) -> None:
    """All input may be taken while the output of it waits for room."""
    for size in range(PIECE_BYTES - 2, PIECE_BYTES + 300):
        packer = zlib.compressobj(wbits=wbits)
        packed = packer.compress(bytes(size)) + packer.flush()
        inflater = Inflater(encoding)
        parts = [packed[start : start + step] for start in range(0, len(packed), step)]
        pieces = [piece for part in parts for piece in inflater.feed(part)]
        assert sum(map(len, pieces)) == size
        assert max(map(len, pieces)) <= PIECE_BYTES
        assert inflater.is_whole
