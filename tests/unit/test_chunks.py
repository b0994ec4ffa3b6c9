"""Chunks: what is one, and merging them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import chunks
from agents.dialects import payloads
from agents.errors import AnswerInvalid
from agents.transcript import Transcript
from conversations.rules import Limits

DEPTH = 6
LIMITS = Limits(text_bytes=60, content_bytes=700, depth=12)

IDS = st.sampled_from(["a", "b"])
PIECES = st.text("xy é\n", max_size=4)
PROVIDERS = st.sampled_from([{}, {}, {}, {"providerMetadata": {"p": {"sig": "1"}}}])


def _of(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    parts = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for name, value in fields.items()
    }
    return st.fixed_dictionaries({"type": st.just(kind), **parts})


def _prose(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    delta = st.builds(
        lambda chunk, more: {**chunk, **more}, _of(f"{kind}-delta", id=IDS, delta=PIECES), PROVIDERS
    )
    return st.one_of(_of(f"{kind}-start", id=IDS), delta, delta, delta, _of(f"{kind}-end", id=IDS))


CHUNKS = st.one_of(
    _prose("text"),
    _prose("text"),
    _prose("reasoning"),
    _of("tool-input-start", toolCallId=IDS, toolName="t"),
    _of("tool-input-delta", toolCallId=IDS, inputTextDelta=PIECES),
    _of("tool-input-available", toolCallId=IDS, toolName="u", input={"x": 1}),
    _of("tool-output-available", toolCallId=IDS, output="y"),
    _of("data-x", id=IDS, data=PIECES),
    _of("start-step"),
    _of("reset-step"),
    _of("finish"),
)
STARTS: list[dict[str, Any]] = [
    *({"type": f"{kind}-start", "id": own_id} for kind in ("text", "reasoning") for own_id in "ab"),
    *({"type": "tool-input-start", "toolCallId": own_id, "toolName": "t"} for own_id in "ab"),
]
RUNS = st.lists(CHUNKS, max_size=25).map(lambda found: [*STARTS, *found])


def told(run: list[dict[str, Any]]) -> Any:
    """The transcript of a run; what came before an error is not compared, for merging may bring it sooner."""
    transcript = Transcript(LIMITS)
    try:
        for chunk in run:
            transcript.add(chunk)
    except AnswerInvalid:
        return "invalid"
    return transcript.draft(), transcript.text, transcript.parts, transcript.finished


@given(RUNS, st.integers(0, 40))
def test_merged_chunks_tell_the_same(run: list[dict[str, Any]], cut: int) -> None:
    before = [dict(chunk) for chunk in run]
    expected = told(run)
    merged = chunks.merge(run)
    assert told(merged) == expected
    assert told(chunks.merge(run[:cut]) + chunks.merge(run[cut:])) == expected
    assert told(chunks.merge(chunks.merge(run[:cut]) + run[cut:])) == expected
    assert chunks.merge(merged) == merged
    assert run == before


def test_neighbouring_deltas_of_one_id_become_one() -> None:
    def delta(own_id: str, text: str, kind: str = "text") -> dict[str, Any]:
        return {"type": f"{kind}-delta", "id": own_id, "delta": text}

    signed = {**delta("a", "4"), "providerMetadata": {}}
    given_chunks = [
        delta("a", "1"), delta("a", "2"), delta("b", "3"), signed, delta("a", "5"),
        delta("a", "6", "reasoning"), delta("a", "7", "reasoning"), {"type": "finish"}, delta("a", "8"),
    ]  # fmt: skip
    assert chunks.merge(given_chunks) == [
        delta("a", "12"), delta("b", "3"), signed, delta("a", "5"),
        delta("a", "67", "reasoning"), {"type": "finish"}, delta("a", "8"),
    ]  # fmt: skip
    inputs = [{"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": text} for text in "ab"]
    assert chunks.merge(inputs) == [inputs[0] | {"inputTextDelta": "ab"}]
    assert chunks.merge([]) == []


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "text-delta", "id": "1", "delta": "é"},
        {"type": "text-delta", "id": "1", "delta": "", "more": [1]},
        {"type": "start"},
        {"type": "tool-input-available", "toolCallId": "1", "toolName": "t"},
        {"type": "tool-output-available", "toolCallId": "1", "output": [None, 1.5, {"a": "b"}]},
        {"type": "data-weather", "data": None},
        {"type": "data-weather", "id": "1", "data": {"deep": [[]]}, "transient": True},
        {"type": "source-url", "sourceId": "1", "url": "http://x"},
    ],
)
def test_a_chunk_passes_as_it_is(chunk: dict[str, Any]) -> None:
    assert chunks.check(dict(chunk), DEPTH) == chunk


def test_what_is_null_and_may_be_absent_is_left_out() -> None:
    chunk = {"type": "tool-input-available", "toolCallId": "1", "toolName": "t", "title": None, "input": None}
    assert chunks.check(chunk, DEPTH) == {k: v for k, v in chunk.items() if k != "title"}


@pytest.mark.parametrize("kind", ["tool-of-tomorrow", "text", "", "weather"])
def test_types_of_tomorrow_are_passed_over(kind: str) -> None:
    assert chunks.check({"type": kind, "whatever": 1}, DEPTH) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("text", "not an object"),
        ([], "not an object"),
        ({}, "with a type"),
        ({"type": 1}, "with a type"),
        ({"type": "text-delta", "id": "1"}, "delta must be a string"),
        ({"type": "text-delta", "id": 1, "delta": "x"}, "id must be a string"),
        ({"type": "text-delta", "id": "1", "delta": None}, "delta must be a string"),
        ({"type": "text-delta", "id": "1", "delta": "a\0"}, "NUL"),
        ({"type": "text-delta", "id": "1", "delta": "\ud83d"}, "Unicode"),
        ({"type": "text-delta", "id": "\0", "delta": "a"}, "NUL"),
        ({"type": "tool-input-start", "toolCallId": "1", "toolName": ""}, "name is empty"),
        ({"type": "data-", "data": 1}, "name is empty"),
        ({"type": "data-x", "id": 7}, "id must be a string"),
        ({"type": "data-x", "data": {"\0": 1}}, "NUL"),
        ({"type": "data-x", "data": [[[[[[[[]]]]]]]]}, "too deep"),
        ({"type": "data-x", "data": float("nan")}, "finite"),
        ({"type": "finish", "messageMetadata": []}, "an object"),
        ({"type": "tool-output-available", "toolCallId": "1", "preliminary": 1}, "true or false"),
    ],
)
def test_what_is_no_chunk_is_refused(value: Any, why: str) -> None:
    with pytest.raises(AnswerInvalid, match=why):
        chunks.check(value, DEPTH)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\u0000"', "\ufffd"),
        ('"\\\\u0000"', "\\u0000"),
        ('{"\\ud83d": ["\\ud83d", "\\ude00\\u0000"]}', {"\ufffd": ["\ufffd", "\ufffd\ufffd"]}),
        ('"\\uD83D\\uDE00"', "😀"),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
    ],
)
def test_characters_that_cannot_be_kept_are_replaced(text: str, value: Any) -> None:
    assert payloads.load(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "[" * 100_000,
        '["\\ud800", NaN]',
        '"\\ud800' + "[" * 9,
        "[" * 2_000 + '"\\ud800"',
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(AnswerInvalid, match="JSON"):
        payloads.load(text)
