"""The hot end of a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.tail import Tail


def entry(seq: int, size: int = 10) -> tuple[int, bytes]:
    return seq, bytes(size)


def filled(first: int, last: int, *, messages: int = 100, size: int = 1_000) -> Tail:
    tail = Tail(messages, size)
    for seq in range(first, last + 1):
        tail.append(*entry(seq))
    return tail


def test_an_empty_tail_reaches_nowhere() -> None:
    assert Tail(10, 100).after(0) is None
    tail = filled(1, 3)
    tail.clear()
    assert tail.after(0) is None
    assert tail.after(3) is None


def test_what_comes_after_a_seq() -> None:
    tail = filled(5, 8)
    assert tail.after(4) == [entry(5), entry(6), entry(7), entry(8)]
    assert tail.after(6) == [entry(7), entry(8)]
    assert tail.after(8) == []
    assert tail.after(3) is None


def test_a_cleared_tail_begins_again_with_the_next_message() -> None:
    tail = filled(1, 3)
    tail.clear()
    tail.append(*entry(4))
    assert tail.after(3) == [entry(4)]
    assert tail.after(2) is None


@pytest.mark.parametrize(("messages", "size"), [(3, 1_000), (100, 35)])
def test_the_oldest_make_room(messages: int, size: int) -> None:
    tail = filled(1, 9, messages=messages, size=size)
    assert tail.after(6) == [entry(7), entry(8), entry(9)]
    assert tail.after(5) is None


def test_a_message_larger_than_the_tail_empties_it() -> None:
    tail = filled(1, 3, size=50)
    tail.append(4, bytes(51))
    assert tail.after(3) is None
    tail.append(*entry(5))
    assert tail.after(4) == [entry(5)]


def test_a_tail_may_be_switched_off() -> None:
    assert filled(1, 3, messages=0).after(2) is None


@given(
    messages=st.integers(0, 6),
    size=st.integers(0, 40),
    first=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 20) | st.none(), max_size=30),
    after=st.integers(0, 40),
)
def test_a_tail_is_a_bounded_end_of_the_log(
    messages: int, size: int, first: int, sizes: list[int | None], after: int
) -> None:
    """None in `sizes` clears it."""
    tail, log, seq = Tail(messages, size), [], first
    for one in sizes:
        if one is None:
            tail.clear()
        else:
            log.append(entry(seq, one))
            tail.append(*entry(seq, one))
            seq += 1
    found = tail.after(after)
    if found is not None:
        assert found == [one for one in log if one[0] > after]
        assert len(found) <= messages
        assert sum(len(payload) for _, payload in found) <= size
