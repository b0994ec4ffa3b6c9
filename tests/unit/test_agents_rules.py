"""The rules of deliveries."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import rules
from agents.errors import AnswerInvalid
from agents.rules import ContextMessage, Draft
from conversations.errors import InvalidRequest
from conversations.rules import Limits

LIMITS = Limits(text_bytes=100, content_bytes=200, depth=4)
SCHEDULE = [1.0, 5.0, 30.0]


def message(seq: int, sender_id: str = "alice", kind: str = "text") -> ContextMessage:
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    return ContextMessage(str(seq), seq, sender_id, kind, f"message {seq}", "{}", "{}", None, created_at)


@pytest.mark.parametrize(
    ("failures", "random", "seconds"),
    [(1, 0.5, 1.0), (1, 0.0, 0.8), (2, 0.5, 5.0), (3, 1.0, 36.0), (4, 0.5, 30.0), (99, 0.5, 30.0)],
)
def test_retries_follow_the_schedule_spread_by_a_fifth(failures: int, random: float, seconds: float) -> None:
    assert rules.retry_delay(SCHEDULE, failures, random) == pytest.approx(seconds)


def test_a_stream_that_failed_for_too_long_is_parked() -> None:
    def retry(failing_seconds: float) -> float | None:
        return rules.next_retry(SCHEDULE, 3, 0.5, failing_seconds=failing_seconds, give_up_after=100)

    assert retry(99) == pytest.approx(30)
    assert retry(100) is None


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(None, 1.0), (0.2, 1.0), (20.0, 20.0), (1e9, 3_600.0), (float("nan"), 1.0)]
)
def test_an_agent_may_ask_for_a_later_retry_but_no_sooner(retry_after: float | None, seconds: float) -> None:
    delay = rules.next_retry(SCHEDULE, 1, 0.5, failing_seconds=0, give_up_after=100, retry_after=retry_after)
    assert delay == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("cursor", "upper", "window", "expected"),
    [
        (0, 1, 50, 1),
        (99, 100, 50, 51),
        (9, 100, 50, 10),
        (99, 100, None, 1),
        (99, 100, 1, 100),
        (0, 0, 50, 1),
    ],
)
def test_a_context_is_the_newest_messages_and_at_least_all_new_ones(
    cursor: int, upper: int, window: int | None, expected: int
) -> None:
    assert rules.context_from_seq(cursor, upper, window) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([message(1)], 1),
        ([message(1), message(2, "bot"), message(3)], 1),
        ([message(5, "bot"), message(6)], 6),
        ([message(5, "bot")], None),
        ([message(5, kind="system")], None),
        ([message(5, kind="redaction"), message(6, "bot")], None),
        ([message(5, kind="system"), message(6)], 5),
        ([], None),
    ],
)
def test_the_first_new_message_is_one_of_another(
    messages: list[ContextMessage], expected: int | None
) -> None:
    cursor = 0 if expected == 1 else 4
    assert rules.new_from_seq(messages, cursor, "bot") == expected


@given(st.integers(1, 500), st.integers(1, 20))
def test_slow_endpoints_share_and_leave_room_for_one_more(places: int, endpoints: int) -> None:
    held = [0] * endpoints
    for _ in range(places):
        for index in range(endpoints):
            if rules.may_take_another(held[index], places - sum(held)):
                held[index] += 1
    assert places - sum(held) >= min(max(held) - 1, places // (endpoints + 1))
    assert sum(held) <= places


@pytest.mark.parametrize(
    ("answer", "drafts"),
    [
        ({"text": "hello"}, (Draft("hello", content={}, metadata={}),)),
        ({"text": ""}, ()),
        ({"messages": []}, ()),
        (
            {"messages": [{"text": "a"}, {"kind": "card", "content": {"x": 1}, "metadata": {"y": 2}}]},
            (Draft("a", content={}, metadata={}), Draft("", "card", {"x": 1}, {"y": 2})),
        ),
    ],
)
def test_answers(answer: Any, drafts: tuple[Draft, ...]) -> None:
    assert rules.parse_answer(answer, LIMITS) == drafts


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "hello",
        {},
        {"text": "a", "messages": []},
        {"text": 1},
        {"text": None},
        {"messages": {}},
        {"messages": ["a"]},
        {"messages": [{"text": "a"}] * 101},
        {"text": "a" * 101},
        {"text": "a\0"},
        {"text": "\ud800"},
        {"text": "a", "kind": "Not A Kind"},
        {"text": "a", "kind": "redaction"},
        {"text": "a", "kind": "system"},
        {"text": "a", "content": []},
        {"text": "a", "content": {"x": "\0"}},
        {"text": "a", "content": {"x": [[[[[]]]]]}},
        {"text": "a", "metadata": {"x": "y" * 200}},
        {"text": "a", "metadata": {"x": 2**63}},
    ],
)
def test_answers_that_cannot_be_appended_are_refused(answer: Any) -> None:
    with pytest.raises(AnswerInvalid):
        rules.parse_answer(answer, LIMITS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_no_answer_breaks_the_reader(answer: Any) -> None:
    try:
        drafts = rules.parse_answer(answer, LIMITS)
    except AnswerInvalid:
        return
    assert all(isinstance(draft, Draft) for draft in drafts)


@pytest.mark.parametrize(
    "url", ["http://agent.example/\n", "http://agent.example/a b", "ftp://agent.example", "http://"]
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        rules.check_url(url)
