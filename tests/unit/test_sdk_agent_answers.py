"""What a handler may give back, read by the server's own dialect."""

import json
import math
from collections.abc import Iterable
from typing import Any

import pytest
from fleetlm_client.agent import Answer, Gone, Later, MemoryStore, RetryLater
from fleetlm_client.agent.answers import failed, whole
from fleetlm_client.agent.chunks import Stream
from hypothesis import given
from hypothesis import strategies as st

from agents.dialects.webhook import Webhook
from agents.errors import AnswerInvalid
from tests.unit.agent_calls import LIMITS, head, read

RECEIPT = {"kind": "receipt", "content": {"total": 7}}


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("hello", ["hello"]),
        ("", []),
        (None, []),
        ([], []),
        ({"text": "hello"}, ["hello"]),
        ({"text": "hello", **RECEIPT}, ["hello"]),
        (RECEIPT, [""]),
        ({"messages": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        (["a", {"text": "b"}, RECEIPT], ["a", "b", ""]),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_the_server_reads_what_was_returned(value: Any, texts: list[str]) -> None:
    answer = whole(value)
    reader = Webhook().reader(head(answer.content_type, answer.status), LIMITS)
    read(reader, answer.body)
    assert [draft.text for draft in reader.result()] == texts


@pytest.mark.parametrize("value", [Later, Later()])
def test_later_is_204(value: Any) -> None:
    assert whole(value) == Answer(204)


@pytest.mark.parametrize(
    "value", [7, {"txt": "typo"}, [7], [{}], b"bytes", {"text": object()}, {"text": math.nan}]
)
def test_anything_else_is_an_error_of_the_agent(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        whole(value)


def test_what_was_raised() -> None:
    assert failed(Gone()).status == 410
    assert (failed(RetryLater(12.4)).status, failed(RetryLater(12.4)).retry_after) == (503, 12)
    crashed = failed(ValueError("sk-secret"))
    assert crashed.status == 500
    assert b"ValueError" in crashed.body
    assert b"sk-secret" not in crashed.body


def said(pieces: Iterable[Any]) -> bytes:
    stream = Stream()
    return b"".join([*map(stream.feed, pieces), stream.end()])


def chunks(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def types(*pieces: Any) -> list[str]:
    return [chunk["type"] for chunk in chunks(said(pieces))]


def test_text_becomes_the_long_form() -> None:
    assert chunks(said(["It ", "", "arrives"])) == [
        {"type": "start"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "It "},
        {"type": "text-delta", "id": "text-1", "delta": "arrives"},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish"},
    ]


TOOL = [
    {"type": "tool-input-available", "toolCallId": "t", "toolName": "clock", "input": {}},
    {"type": "tool-output-available", "toolCallId": "t", "output": "12:00"},
]


def test_a_tool_ends_the_text_before_it() -> None:
    made = chunks(said(["One moment.", *TOOL, "It is noon."]))
    assert [chunk["type"] for chunk in made] == [
        *("start", "text-start", "text-delta", "text-end"),
        *("tool-input-available", "tool-output-available"),
        *("text-start", "text-delta", "text-end", "finish"),
    ]
    assert {chunk["id"] for chunk in made if "id" in chunk} == {"text-1", "text-2"}


def test_data_may_come_beside_a_text() -> None:
    progress = {"type": "data-progress", "data": 1, "transient": True}
    assert types("a", progress, "b") == [
        *("start", "text-start", "text-delta", "data-progress", "text-delta", "text-end", "finish")
    ]


def test_the_ends_that_the_handler_says_itself() -> None:
    assert types({"type": "start", "messageMetadata": {}}, "a", {"type": "finish"}) == [
        *("start", "text-start", "text-delta", "text-end", "finish")
    ]
    assert types("a", {"type": "abort", "reason": "no"})[-1] == "abort"
    stream = Stream()
    stream.feed({"type": "error", "errorText": "no model"})
    assert stream.failed
    with pytest.raises(ValueError, match="after"):
        stream.feed("more")


@pytest.mark.parametrize("piece", [7, None, b"bytes", {}, {"type": 7}, {"delta": "a"}])
def test_what_is_no_piece_is_said(piece: Any) -> None:
    with pytest.raises(TypeError, match="yields"):
        Stream().feed(piece)


# The server replaces NUL, which Postgres cannot store.
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
        | st.sampled_from(TOOL[:1]),
        max_size=12,
    )
)
def test_the_server_reads_every_stream(pieces: list[Any]) -> None:
    texts = "".join(piece for piece in pieces if isinstance(piece, str))
    read_as = "".join(draft.text for draft in answered(said(pieces)))
    # Between parts comes an empty line, and a text of nothing but space is none.
    assert read_as.replace("\n\n", "") == (texts.replace("\n\n", "") if texts.strip() else "")


def answered(body: bytes) -> Any:
    reader = Webhook().reader(head(), LIMITS)
    read(reader, body)
    return reader.result()


def test_a_stream_that_breaks_off_anywhere_is_no_answer() -> None:
    body = said(["It ", "arrives"])
    whole_from = body.index(b'"finish"')
    for cut in range(whole_from):
        with pytest.raises(AnswerInvalid):
            answered(body[:cut])


async def test_memory_is_bounded_by_number_and_by_bytes() -> None:
    store = MemoryStore(max_calls=3, max_bytes=100)
    for number in range(5):
        await store.put(f"call-{number}", Answer(200, body=b"x" * 10))
    assert [await store.get(f"call-{number}") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    await store.put("large", Answer(200, body=b"x" * 90))
    assert [await store.get(f"call-{number}") is not None for number in (2, 3, 4)] == [False, False, True]
    await store.put("too large", Answer(200, body=b"x" * 101))
    assert await store.get("too large") is None
    await store.put("again", Answer(200, body=b"y"))
    await store.put("again", Answer(200, body=b"z" * 99))
    assert await store.get("again") == Answer(200, body=b"z" * 99)
