"""Typing ends by itself."""

import asyncio
from collections.abc import Callable

from runtime.typing_state import TYPING_LIMIT, TYPING_SECONDS, Typing
from tests import clock

Change = tuple[float, str, bool]


def changes(play: Callable[[Typing], None], *later: tuple[float, Callable[[Typing], None]]) -> list[Change]:
    """What `play` and what comes `later`, at these seconds, bring about within a minute."""

    async def main() -> list[Change]:
        loop = asyncio.get_running_loop()
        seen: list[Change] = []
        typing = Typing(lambda who, on: seen.append((round(loop.time(), 3), who, on)))
        play(typing)
        for seconds, act in later:
            loop.call_at(seconds, act, typing)
        await asyncio.sleep(60)
        return seen

    return clock.run(main)


def test_it_ends_by_itself_after_six_seconds() -> None:
    assert TYPING_SECONDS == 6.0
    assert changes(lambda typing: typing.set("a", True)) == [(0.0, "a", True), (6.0, "a", False)]


def test_said_again_it_lasts_longer_and_is_told_once() -> None:
    assert changes(lambda typing: typing.set("a", True), (4.0, lambda typing: typing.set("a", True))) == [
        (0.0, "a", True),
        (10.0, "a", False),
    ]


def test_it_ends_when_told_and_not_a_second_time() -> None:
    assert changes(lambda typing: typing.set("a", True), (2.0, lambda typing: typing.set("a", False))) == [
        (0.0, "a", True),
        (2.0, "a", False),
    ]


def test_one_who_does_not_type_cannot_stop() -> None:
    assert changes(lambda typing: typing.set("a", False)) == []


def test_each_one_has_a_time_of_its_own() -> None:
    assert changes(lambda typing: typing.set("a", True), (1.0, lambda typing: typing.set("b", True))) == [
        (0.0, "a", True),
        (1.0, "b", True),
        (6.0, "a", False),
        (7.0, "b", False),
    ]


def test_stopped_it_is_silent() -> None:
    assert changes(lambda typing: typing.set("a", True), (2.0, Typing.stop)) == [(0.0, "a", True)]


def test_no_more_than_a_hundred_are_shown_at_a_time() -> None:
    def play(typing: Typing) -> None:
        for number in range(TYPING_LIMIT + 5):
            typing.set(str(number), True)
        assert len(typing.active) == TYPING_LIMIT
        typing.set("0", True)  # who is shown already goes on
        typing.set("0", False)
        typing.set("late", True)

    told = [who for _, who, on in changes(play) if on]
    assert told == [*[str(number) for number in range(TYPING_LIMIT)], "late"]
