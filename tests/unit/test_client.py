"""The client's decisions: where it resumes, what a line of input sends, how it waits."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtime.client.chat import message_of
from runtime.client.follow import LONGEST_DELAY, Place, delay_after
from runtime.client.output import printable


def joined(*seqs: int, epoch: str = "one", recovered: bool = True) -> dict[str, Any]:
    return {"epoch": epoch, "recovered": recovered, "last_seq": max(seqs, default=0), "messages": log(*seqs)}


def log(*seqs: int) -> list[dict[str, Any]]:
    return [{"seq": seq} for seq in seqs]


def test_it_begins_with_the_newest_and_goes_on_from_there() -> None:
    place = Place(newest=3)
    assert place.start() == {"limit": 3}
    assert place.take_join(joined(7, 8, 9)) == log(7, 8, 9)
    assert [place.take({"seq": seq}) for seq in (9, 10, 10, 11)] == [False, True, False, True]
    assert place.start() == {"after": 11, "epoch": "one", "limit": 200}


def test_it_can_begin_with_what_comes_next() -> None:
    place = Place(newest=0)
    assert place.take_join(joined(9)) == []
    assert place.take({"seq": 10})


def test_it_begins_an_empty_log_with_its_first_message() -> None:
    place = Place()
    assert place.take_join(joined()) == []
    assert place.take({"seq": 1})


def test_after_zero_it_begins_with_the_first() -> None:
    place = Place(seq=0)
    assert place.start() == {"after": 0, "limit": 200}
    assert place.take_join(joined(1, 2)) == log(1, 2)


def test_a_hole_makes_it_ask_again_from_before_the_hole() -> None:
    place = Place(seq=4, epoch="one")
    assert not place.take({"seq": 6})
    assert not place.complete
    assert not place.take({"seq": 5})
    assert place.start()["after"] == 4
    assert place.take_join(joined(5, 6)) == log(5, 6)


def test_another_epoch_is_another_log() -> None:
    place = Place(seq=40, epoch="one")
    assert place.take_join(joined(1, 2, epoch="two", recovered=False)) == log(1, 2)
    assert place.start() == {"after": 2, "epoch": "two", "limit": 200}


@given(st.lists(st.lists(st.integers(1, 30), max_size=30), max_size=8))
def test_whatever_comes_every_seq_is_taken_once_in_order(rounds: list[list[int]]) -> None:
    place, taken = Place(seq=0), []
    for pushes in rounds:
        after = place.start()["after"]
        taken += [message["seq"] for message in place.take_join(joined(*range(after + 1, after + 3)))]
        taken += [seq for seq in pushes if place.take({"seq": seq})]
    assert taken == list(range(1, len(taken) + 1))


def test_lines_are_text_or_messages() -> None:
    assert message_of("  hello \n") == {"text": "hello"}
    assert message_of("\n") is None
    assert message_of('{"text": "hi", "metadata": {"a": 1}}') == {"text": "hi", "metadata": {"a": 1}}
    assert message_of('{"content": {"card": 1}, "kind": "card"}') == {"content": {"card": 1}, "kind": "card"}
    for text in ("{curly", '{"other": 1}', "[1]", '"quoted"'):
        assert message_of(text) == {"text": text}


def test_waiting_doubles_to_a_limit_and_is_spread() -> None:
    assert [delay_after(failures, 1) for failures in range(4)] == [0.25, 0.5, 1, 2]
    assert delay_after(10_000, 1) == LONGEST_DELAY
    assert delay_after(3, 0) == delay_after(3, 1) / 2


def test_a_message_cannot_move_the_cursor_of_a_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\rd\u202ee") == "a·[2Jb c d·e"
