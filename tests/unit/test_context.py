"""What of a conversation a call carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import context
from agents.rules import CONTEXT_MESSAGES_MAX, ContextMessage
from tests.unit.agent_calls import message


def seqs(messages: list[ContextMessage]) -> list[int]:
    return [m.seq for m in messages]


def called(seq: int, call_id: str) -> ContextMessage:
    return message(seq, "bot", "", "tool_call", {"tool_call_id": call_id, "tool_name": "t"})


def result(seq: int, call_id: str, text: str = "") -> ContextMessage:
    return message(seq, "alice", text, "tool_result", {"tool_call_id": call_id, "output": 1})


@pytest.mark.parametrize(
    ("cursor", "upper", "messages", "tokens", "expected"),
    [
        (99, 100, 50, None, 51),
        (9, 100, 50, None, 10),
        (99, 100, None, None, 1),
        (20_000, 20_001, None, None, 20_001 - CONTEXT_MESSAGES_MAX + 1),
        (99, 100, 5, 40, 90),  # the budget goes first: it holds at most ten messages
        (99, 100, None, 4, 99),
        (99, 100, 5, 10**9, 1),
        (20_000, 20_001, 5, 10**9, 20_001 - CONTEXT_MESSAGES_MAX + 1),
    ],
)
def test_no_more_is_read_than_can_be_carried(
    cursor: int, upper: int, messages: int | None, tokens: int | None, expected: int
) -> None:
    assert context.from_seq(cursor, upper, messages=messages, tokens=tokens) == expected


@pytest.mark.parametrize(
    ("text", "content", "tokens"),
    [
        ("", None, 4),
        ("a", None, 5),
        ("abcd", None, 5),
        ("abcde", None, 6),
        ("éé", None, 5),
        ("日本", None, 6),
    ],
)
def test_tokens_are_estimated_by_bytes(text: str, content: object, tokens: int) -> None:
    assert context.estimate_tokens(message(1, text=text, content=content)) == tokens


def test_text_that_is_in_the_content_as_well_counts_once() -> None:
    streamed = message(1, text="a" * 400, content={"parts": [{"type": "text", "text": "a" * 400}]})
    assert 104 < context.estimate_tokens(streamed) < 120


def test_a_budget_keeps_the_newest() -> None:
    log = [message(seq, text="12345678") for seq in range(1, 11)]  # 6 tokens each
    assert seqs(context.select(log, 9, tokens=18)) == [8, 9, 10]
    assert seqs(context.select(log, 9, tokens=23)) == [8, 9, 10]
    assert seqs(context.select(log, 9, tokens=24)) == [7, 8, 9, 10]
    assert seqs(context.select(log, 9, tokens=60)) == list(range(1, 11))
    assert seqs(context.select(log, 9)) == list(range(1, 11))


def test_new_messages_are_carried_whatever_they_cost() -> None:
    log = [message(seq, text="x" * 1_000) for seq in range(1, 6)]
    assert seqs(context.select(log, 2, tokens=1)) == [3, 4, 5]
    assert seqs(context.select(log, 5, tokens=1)) == []


def test_one_old_message_that_does_not_fit_ends_the_context() -> None:
    log = [message(1, text=""), message(2, text="x" * 1_000), message(3, text=""), message(4, text="")]
    assert seqs(context.select(log, 3, tokens=50)) == [3, 4]


def test_an_old_result_goes_with_its_call() -> None:
    log = [called(1, "a"), result(2, "a"), message(3), message(4)]
    assert seqs(context.select(log, 3, tokens=1_000)) == [1, 2, 3, 4]
    after_the_call = sum(map(context.estimate_tokens, log[1:]))
    assert seqs(context.select(log, 3, tokens=after_the_call)) == [3, 4]


def test_a_window_of_messages_splits_no_pair_either() -> None:
    assert seqs(context.select([result(2, "a"), message(3), message(4)], 3)) == [3, 4]


def test_the_call_of_a_new_result_comes_along() -> None:
    log = [message(1), called(2, "a"), message(3, text="x" * 400), result(4, "a")]
    assert seqs(context.select(log, 3, tokens=1)) == [2, 4]
    assert seqs(context.select(log[2:], 3, tokens=1)) == [4]  # it was not read


def test_parts_of_a_streamed_answer_are_calls_too() -> None:
    part = {"type": "tool-t", "toolCallId": "a", "state": "input-available", "input": {}}
    answer = message(1, "bot", content={"parts": ["odd", 7, {"toolCallId": 9}, part]})
    assert context.called_ids(answer) == {"a"}
    assert context.result_ids(answer) == set()
    assert seqs(context.select([answer, message(2), result(3, "a")], 2, tokens=1)) == [1, 3]
    assert context.called_ids(message(1, content={"parts": "toolCallId"})) == set()


def test_a_redaction_stays_as_it_is() -> None:
    log = [message(1, text="", content=None), message(2, kind="redaction", text=""), message(3)]
    assert context.select(log, 2, tokens=100) == log


KINDS = st.sampled_from(["text", "call", "result", "result", "redaction"])
LOGS = st.lists(st.tuples(KINDS, st.sampled_from("abc"), st.integers(0, 40)), max_size=14)


def build(log: list[tuple[str, str, int]]) -> list[ContextMessage]:
    made = []
    for seq, (kind, call_id, length) in enumerate(log, start=5):
        if kind == "call":
            made.append(called(seq, call_id))
        elif kind == "result":
            made.append(result(seq, call_id, "x" * length))
        else:
            made.append(message(seq, text="x" * length, kind=kind))
    return made


@given(LOGS, st.integers(4, 20), st.one_of(st.none(), st.integers(0, 200)))
def test_what_a_context_promises(log: list[tuple[str, str, int]], cursor: int, tokens: int | None) -> None:
    messages = build(log)
    kept = context.select(messages, cursor, tokens=tokens)
    new = [m for m in messages if m.seq > cursor]

    assert seqs(kept) == sorted(set(seqs(kept)))
    assert set(kept) <= set(messages)
    assert kept[len(kept) - len(new) :] == new
    so_far: set[str] = set()
    anywhere = [(m.seq, context.called_ids(m)) for m in messages]
    for m in kept:
        orphaned = context.result_ids(m) - so_far
        # Only a new result may lack its call, and only if there never was one.
        assert not orphaned or m.seq > cursor
        assert not any(orphaned & ids for seq, ids in anywhere if seq < m.seq)
        so_far |= context.called_ids(m)
    if tokens is not None:
        wanted = set().union(*(context.result_ids(m) for m in new))
        old = [m for m in kept if m.seq <= cursor and wanted.isdisjoint(context.called_ids(m))]
        cost = sum(map(context.estimate_tokens, old)) + sum(map(context.estimate_tokens, new))
        assert not old or cost <= tokens
