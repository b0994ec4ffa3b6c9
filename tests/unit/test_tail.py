"""The hot end of a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.tail import ENTRY_BYTES, Tail, TailMemory


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


# Many tails of one process.


def test_the_tail_that_was_used_longest_ago_goes_first() -> None:
    memory = TailMemory(2 * (ENTRY_BYTES + 10))
    one, two, three = (Tail(10, 1_000, memory) for _ in range(3))
    one.append(*entry(1))
    two.append(*entry(1))
    assert one.after(0) == [entry(1)]  # read, and so used after the other
    three.append(*entry(1))
    assert [tail.after(0) for tail in (one, two, three)] == [[entry(1)], None, [entry(1)]]


def test_a_tail_that_is_emptied_gives_its_bytes_back() -> None:
    memory = TailMemory(10_000)
    one, other = (Tail(10, 1_000, memory) for _ in range(2))
    one.append(*entry(1))
    other.append(*entry(1))
    one.clear()
    one.clear()
    assert memory.bytes == ENTRY_BYTES + 10


@given(
    limit=st.integers(0, 1_500),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 60)), max_size=60),
)
def test_all_tails_together_stay_within_their_memory(limit: int, steps: list[tuple[int, int, int]]) -> None:
    memory = TailMemory(limit)
    tails = [Tail(4, 120, memory) for _ in range(4)]
    lasts = [0] * 4
    for which, what, size in steps:
        tail = tails[which]
        if what == 0:
            tail.clear()
        elif what == 1:
            tail.after(lasts[which] - 2)
        else:
            lasts[which] += 1
            tail.append(lasts[which], bytes(size))
        held = [_held(one, last) for one, last in zip(tails, lasts, strict=True)]
        assert sum(held) == memory.bytes <= limit


def _held(tail: Tail, last: int) -> int:
    """What a tail that ends with `last` counts for."""
    pages = [page for page in (tail.after(seq) for seq in range(last)) if page is not None]
    longest = max(pages, key=len, default=[])
    return sum(len(payload) + ENTRY_BYTES for _, payload in longest)
