"""Messages before their turn: bounded in number and bytes, for a conversation and for the process."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.ahead import BYTES, LIMIT, Ahead, Room


def test_what_is_kept_is_there_once() -> None:
    ahead = Ahead(Room(100))
    assert not ahead
    assert ahead.keep(3, 7, b"three")
    assert ahead.keep(3, 7, b"three")
    assert ahead
    assert (ahead.version_of(3), ahead.version_of(4)) == (7, None)
    assert (ahead.take(3), ahead.take(3)) == (b"three", None)
    assert not ahead


def test_beyond_the_number_nothing_is_kept() -> None:
    ahead = Ahead(Room())
    assert all(ahead.keep(seq, 1, b"") for seq in range(LIMIT))
    assert not ahead.keep(LIMIT, 1, b"")
    ahead.take(0)
    assert ahead.keep(LIMIT, 1, b"")


def test_beyond_the_bytes_nothing_is_kept() -> None:
    ahead = Ahead(Room())
    assert ahead.keep(1, 1, bytes(BYTES))
    assert not ahead.keep(2, 1, b"x")


def test_the_room_is_shared_and_given_back() -> None:
    room = Room(10)
    one, other = Ahead(room), Ahead(room)
    assert one.keep(1, 1, bytes(8))
    assert not other.keep(1, 1, bytes(3))
    assert other.keep(1, 1, bytes(2))
    one.forget()
    assert room.left == 8
    other.forget(0)
    assert room.left == 8
    other.forget(1)
    assert room.left == 10


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12), st.integers(0, 9)), max_size=60))
def test_room_that_is_taken_is_what_is_held(steps: list[tuple[int, int, int]]) -> None:
    room, held = Room(40), dict[int, int]()
    ahead = Ahead(room)
    for what, seq, size in steps:
        if what == 0 and ahead.keep(seq, 1, bytes(size)):
            held.setdefault(seq, size)
        elif what == 1:
            ahead.take(seq)
            held.pop(seq, None)
        elif what == 2:
            ahead.forget(seq)
            held = {one: size for one, size in held.items() if one > seq}
        assert room.left == 40 - sum(held.values()) >= 0
        assert len(ahead) == len(held)
