"""The message that a stream becomes."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import AgentFailed, AnswerInvalid
from agents.transcript import ERROR_CHARACTERS, Transcript
from conversations.rules import Limits

LIMITS = Limits(text_bytes=100, content_bytes=500, depth=12)

Chunk = dict[str, Any]


def transcript(*chunks: Chunk, limits: Limits = LIMITS) -> Transcript:
    said = Transcript(limits)
    for chunk in chunks:
        said.add(chunk)
    return said


def text(words: str, own_id: str = "1", kind: str = "text") -> list[Chunk]:
    return [
        {"type": f"{kind}-start", "id": own_id},
        *({"type": f"{kind}-delta", "id": own_id, "delta": letter} for letter in words),
        {"type": f"{kind}-end", "id": own_id},
    ]


def tool(kind: str, own_id: str = "c", **fields: Any) -> Chunk:
    return {"type": f"tool-{kind}", "toolCallId": own_id, **fields}


STEP = {"type": "start-step"}
FINISH = {"type": "finish"}


def test_a_stream_becomes_one_message() -> None:
    said = transcript(
        {"type": "start", "messageId": "m"},
        STEP,
        *text("hm", "r", kind="reasoning"),
        *text("I look."),
        tool("input-start", toolName="search"),
        tool("input-delta", inputTextDelta='{"q":'),
        tool("input-available", toolName="search", input={"q": 1}),
        tool("output-available", output=["found"]),
        {"type": "finish-step"},
        STEP,
        {"type": "source-url", "sourceId": "s", "url": "http://x"},
        {"type": "data-note", "id": "n", "data": 1},
        {"type": "file", "url": "http://f", "mediaType": "image/png"},
        *text("Here."),
        FINISH,
    )
    draft = said.draft()
    assert draft is not None
    assert (draft.text, draft.kind, draft.metadata) == ("I look.\n\nHere.", "text", None)
    assert draft.content == {
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "I look."},
            {
                "type": "tool-search",
                "toolCallId": "c",
                "state": "output-available",
                "input": {"q": 1},
                "output": ["found"],
            },
            {"type": "step-start"},
            {"type": "source-url", "sourceId": "s", "url": "http://x"},
            {"type": "data-note", "id": "n", "data": 1},
            {"type": "file", "url": "http://f", "mediaType": "image/png"},
            {"type": "text", "text": "Here."},
        ],
        "status": "complete",
    }
    assert said.finished


SEPARATORS: list[tuple[list[Chunk], str]] = [
    ([], "onetwo"),
    ([{"type": "source-url", "sourceId": "s", "url": "u"}], "onetwo"),
    ([{"type": "data-x", "data": 1}], "onetwo"),
    ([STEP], "one\n\ntwo"),
    ([tool("input-start", toolName="t")], "one\n\ntwo"),
    ([tool("input-available", toolName="t", dynamic=True)], "one\n\ntwo"),
    (text("hm", "r", kind="reasoning"), "one\n\ntwo"),
    ([STEP, *text(" \n"), STEP], "one\n\ntwo"),
]


@pytest.mark.parametrize(("between", "expected"), SEPARATORS)
def test_what_stands_between_texts_decides_how_they_are_joined(between: list[Chunk], expected: str) -> None:
    assert transcript(*text("one"), *between, *text("two")).text == expected


def test_paragraphs_are_one_blank_line_apart_whatever_the_agent_sent() -> None:
    assert transcript(*text("\none\n"), STEP, *text("\n\n\n  two\n")).text == "\none\n\n  two\n"


def test_deltas_of_two_texts_may_alternate() -> None:
    one, two = text("ab", "1"), text("xy", "2")
    said = transcript(*(chunk for pair in zip(one, two, strict=True) for chunk in pair))
    assert said.parts == [{"type": "text", "text": "ab"}, {"type": "text", "text": "xy"}]


def test_nothing_said_is_no_message() -> None:
    assert transcript().draft() is None
    assert transcript(STEP, {"type": "text-start", "id": "1"}, *text("", "2"), FINISH).draft() is None
    assert transcript({"type": "data-x", "data": 1, "transient": True}).draft() is None
    assert transcript({"type": "data-x", "data": 1}).draft() is not None


def test_an_end_without_a_start_is_not_relayed_and_does_no_harm() -> None:
    said = transcript(*text("a"))
    assert not said.add({"type": "text-end", "id": "1"})
    assert not said.add({"type": "reasoning-end", "id": "9"})
    assert not said.add({"type": "tool-approval-response", "approvalId": "a", "approved": True})
    assert said.add({"type": "text-start", "id": "2"})
    assert said.text == "a"


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "text-delta", "id": "9", "delta": "x"},
        {"type": "text-delta", "id": "1", "delta": "x"},  # it has ended
        {"type": "text-delta", "id": "r", "delta": "x"},  # a reasoning's id
        {"type": "reasoning-delta", "id": "1", "delta": "x"},
        tool("input-delta", "9", inputTextDelta="x"),
        tool("input-delta", inputTextDelta="x"),  # its input is complete
        tool("output-available", "9", output=1),
        tool("output-error", "9", errorText="x"),
        tool("output-denied", "9"),
        tool("approval-request", "9", approvalId="a"),
    ],
)
def test_what_never_began_cannot_go_on(chunk: Chunk) -> None:
    said = transcript(
        *text("a"), {"type": "reasoning-start", "id": "r"}, tool("input-available", toolName="t", input=1)
    )
    with pytest.raises(AnswerInvalid, match=chunk["type"]):
        said.add(chunk)


def test_a_tool_call_that_comes_again_changes_its_part() -> None:
    said = transcript(
        tool("input-start", toolName="t", title="T"),
        tool("input-delta", inputTextDelta="x"),
        *text("a"),
        tool("input-start", toolName="t"),
        tool("input-delta", inputTextDelta="{"),
        tool("input-delta", inputTextDelta="}"),
    )
    head = {"type": "tool-t", "toolCallId": "c", "title": "T"}
    assert said.parts[0] == head | {"state": "input-streaming", "rawInput": "{}"}
    assert len(said.parts) == 2
    said.add(tool("input-available", toolName="u", input=1))
    said.add(tool("output-available", output=1, preliminary=True))
    head["type"] = "tool-u"
    assert said.parts[0] == head | {"state": "output-available", "input": 1, "output": 1, "preliminary": True}
    said.add(tool("output-available", output=2, providerMetadata={"p": 1}))
    assert said.parts[0] == head | {
        "state": "output-available", "input": 1, "output": 2, "resultProviderMetadata": {"p": 1},
    }  # fmt: skip
    said.add(tool("output-error", errorText="no"))
    assert said.parts[0]["state"] == "output-error"
    assert "output" not in said.parts[0]
    assert said.knows_tool("c")
    assert not said.knows_tool("d")


def test_an_input_that_comes_again_takes_back_what_came_of_the_first() -> None:
    said = transcript(
        tool("input-available", toolName="t", input=1),
        tool("output-available", output=1, preliminary=True),
        tool("input-available", toolName="t", input=2),
    )
    assert said.parts == [{"type": "tool-t", "toolCallId": "c", "state": "input-available", "input": 2}]


def test_a_tool_whose_input_is_bad_or_whose_use_is_denied() -> None:
    said = transcript(tool("input-error", toolName="t", input="{", errorText="no JSON"))
    assert said.parts == [
        {
            "type": "tool-t",
            "toolCallId": "c",
            "state": "output-error",
            "rawInput": "{",
            "errorText": "no JSON",
        }
    ]
    said = transcript(
        tool("input-available", toolName="t", input={}, dynamic=True),
        tool("approval-request", approvalId="a"),
        {"type": "tool-approval-response", "approvalId": "a", "approved": False, "reason": "no"},
    )
    part = {"type": "dynamic-tool", "toolName": "t", "toolCallId": "c", "input": {}}
    approval = {"id": "a", "approved": False, "reason": "no"}
    assert said.parts == [part | {"state": "approval-responded", "approval": approval}]
    said.add(tool("output-denied"))
    assert said.parts == [part | {"state": "output-denied", "approval": approval}]


def test_a_result_ends_an_input_that_did_not_end() -> None:
    started = (tool("input-start", toolName="t"), tool("input-delta", inputTextDelta="{"))
    for result in (tool("output-available", output=1), tool("output-error", errorText="no")):
        said = transcript(*started, result)
        assert said.parts[0]["rawInput"] == "{"
        with pytest.raises(AnswerInvalid, match="tool-input-delta"):
            said.add(started[1])


def test_data_of_one_id_is_kept_once() -> None:
    said = transcript(
        {"type": "data-x", "id": "1", "data": 1},
        {"type": "data-y", "id": "1", "data": 2},
        {"type": "data-x", "id": "1", "data": 3},
        {"type": "data-x", "data": 4},
        {"type": "data-x", "data": 5},
        {"type": "data-x", "id": "2", "data": 6, "transient": True},
    )
    assert said.parts == [
        {"type": "data-x", "id": "1", "data": 3},
        {"type": "data-y", "id": "1", "data": 2},
        {"type": "data-x", "data": 4},
        {"type": "data-x", "data": 5},
    ]


def test_a_step_that_is_reset_is_forgotten() -> None:
    full = Limits(text_bytes=4, content_bytes=200, depth=12)
    said = transcript(
        *text("ab"), STEP, *text("cd"[:0], "2"), tool("input-start", toolName="t"), {"type": "data-x", "id": "1"},
        limits=full,
    )  # fmt: skip
    said.add({"type": "reset-step"})
    assert said.parts == [{"type": "text", "text": "ab"}, {"type": "step-start"}]
    assert not said.knows_tool("c")
    with pytest.raises(AnswerInvalid):
        said.add({"type": "text-delta", "id": "2", "delta": "x"})
    said.add({"type": "data-x", "id": "1", "data": "again"})
    assert said.parts[-1] == {"type": "data-x", "id": "1", "data": "again"}


def test_limits_count_again_what_a_reset_gave_back() -> None:
    said = transcript(STEP, limits=Limits(text_bytes=10, content_bytes=120, depth=12))
    for _ in range(5):
        for chunk in (
            *text("ten bytes."),
            *text("ten bytes more", "r", kind="reasoning"),
            {"type": "reset-step"},
        ):
            said.add(chunk)
    assert said.draft() is None


def test_metadata_is_merged() -> None:
    said = transcript(
        {"type": "start", "messageMetadata": {"model": "m", "usage": {"in": 1}}},
        {"type": "message-metadata", "messageMetadata": {"usage": {"out": 2}}},
        {"type": "message-metadata"},
        *text("a"),
        {"type": "finish", "messageMetadata": {"model": "n"}},
    )
    draft = said.draft()
    assert draft is not None
    assert draft.metadata == {"model": "n", "usage": {"in": 1, "out": 2}}


def test_what_a_provider_notes_of_a_text_is_kept() -> None:
    said = transcript(
        {"type": "reasoning-start", "id": "r", "providerMetadata": {"p": 1}},
        {"type": "reasoning-delta", "id": "r", "delta": "", "providerMetadata": {"p": 2}},
        {"type": "reasoning-end", "id": "r", "providerMetadata": {"p": 3}},
    )
    assert said.parts == [{"type": "reasoning", "text": "", "providerMetadata": {"p": 3}}]


def test_an_abort_ends_it_and_says_so() -> None:
    said = transcript(*text("ab"), {"type": "abort", "reason": "tired"})
    draft = said.draft()
    assert said.finished
    assert draft is not None
    assert draft.content == {"parts": [{"type": "text", "text": "ab"}], "status": "aborted"}


def test_an_error_is_the_agents_own() -> None:
    with pytest.raises(AgentFailed, match="no more tokens"):
        transcript({"type": "error", "errorText": "no more tokens"})
    with pytest.raises(AgentFailed) as long:
        transcript({"type": "error", "errorText": "x" * 10_000})
    assert len(str(long.value)) == ERROR_CHARACTERS
    with pytest.raises(AgentFailed, match="reported an error"):
        transcript({"type": "error", "errorText": ""})


def test_a_text_may_be_as_long_as_the_limit_and_no_longer() -> None:
    fifty = "é" * 25
    said = transcript(
        {"type": "text-start", "id": "1"}, *[{"type": "text-delta", "id": "1", "delta": fifty}] * 2
    )
    assert len(said.text.encode()) == 100
    with pytest.raises(AnswerInvalid, match="text is over 100 bytes"):
        said.add({"type": "text-delta", "id": "1", "delta": "x"})


def test_the_blank_line_between_paragraphs_counts_too() -> None:
    chunks = [*text("ab"), STEP, *text("cd")]
    assert transcript(*chunks, limits=Limits(text_bytes=6, content_bytes=500, depth=12)).text == "ab\n\ncd"
    with pytest.raises(AnswerInvalid, match="text is over 5 bytes"):
        transcript(*chunks, limits=Limits(text_bytes=5, content_bytes=500, depth=12))


LARGE: list[Chunk] = [
    {"type": "data-x", "data": "x" * 500},
    {"type": "data-x", "id": "1", "data": "x" * 500},
    {"type": "file", "url": "x" * 500, "mediaType": "m"},
    {"type": "reasoning-delta", "id": "r", "delta": "é" * 250},
    {"type": "reasoning-end", "id": "r", "providerMetadata": {"x": "x" * 500}},
    tool("input-delta", inputTextDelta="x" * 500),
    tool("output-available", output="x" * 500),
    tool("output-error", errorText="x" * 500),
    {"type": "message-metadata", "messageMetadata": {"x": "x" * 500}},
]


@pytest.mark.parametrize("chunk", LARGE)
def test_what_is_not_text_has_its_own_limit(chunk: Chunk) -> None:
    said = transcript(
        {"type": "reasoning-start", "id": "r"},
        tool("input-start", toolName="t"),
        {"type": "data-x", "id": "1", "data": 0},
    )
    with pytest.raises(AnswerInvalid, match="besides text is over 500 bytes"):
        said.add(chunk)


def test_many_small_parts_come_up_against_the_limit() -> None:
    with pytest.raises(AnswerInvalid, match="besides text"):
        transcript(*[chunk for number in range(100) for chunk in text("", str(number))])
    transcript(*[{"type": "data-x", "id": "1", "data": number} for number in range(1_000)])


STEPS = st.one_of(
    st.text("ab é\n", max_size=9).map(text),
    st.text("ab é\n", max_size=9).map(lambda words: text(words, "r", kind="reasoning")),
    st.sampled_from([[STEP], [{"type": "reset-step"}], [{"type": "data-x", "data": [1]}]]),
    st.sampled_from([[tool("input-start", toolName="t")], [tool("input-available", toolName="t", input=1)]]),
)


@given(st.lists(STEPS, max_size=20))
def test_what_is_kept_is_within_the_limits(steps: list[list[Chunk]]) -> None:
    limits = Limits(text_bytes=30, content_bytes=300, depth=12)
    said = Transcript(limits)
    try:
        for chunk in (chunk for step in steps for chunk in step):
            said.add(chunk)
    except AnswerInvalid:
        pass
    assert len(said.text.encode()) <= limits.text_bytes
    others = [part for part in said.parts if part["type"] != "text"]
    # The last change of a tool was noted before it was refused.
    assert len(orjson.dumps(others)) <= limits.content_bytes + 60
