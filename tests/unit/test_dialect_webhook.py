"""The dialect `webhook`."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from agents.dialects import DIALECTS
from agents.errors import AgentFailed, AnswerInvalid, CallRefused
from agents.rules import Draft
from conversations.errors import InvalidRequest
from tests.unit.agent_calls import LIMITS, SECRET, call, head, message, read, sse

DIALECT = DIALECTS["webhook"]
NDJSON = "application/x-ndjson"

UI_STREAM: list[dict[str, Any]] = [
    {"type": "start"},
    {"type": "text-start", "id": "1"},
    {"type": "text-delta", "id": "1", "delta": "Hel"},
    {"type": "text-delta", "id": "1", "delta": "lo"},
    {"type": "text-end", "id": "1"},
    {"type": "finish"},
]
HELLO = Draft("Hello", "text", {"parts": [{"type": "text", "text": "Hello"}], "status": "complete"}, None)


def lines(*values: Any) -> bytes:
    return b"\n".join(map(orjson.dumps, values))


def test_a_call_is_signed_json_of_the_whole_context() -> None:
    given = call(message(1, content={"a": 1}), message(2, "bot"), new_from_seq=2, now=datetime.now(UTC))
    request = DIALECT.write(given)
    assert request.url == given.url
    Verifier(SECRET).verify(request.body, request.headers)
    body = orjson.loads(request.body)
    assert list(body) == [
        "type", "id", "timestamp", "agent_id", "dm_key", "key", "epoch", "conversation", "new_from_seq",
        "participants", "reply_url", "run_id",
    ]  # fmt: skip
    assert [m["seq"] for m in body["conversation"]] == [1, 2]
    assert body["conversation"][0]["content"] == {"a": 1}
    assert body["new_from_seq"] == 2
    assert request.headers["accept"].startswith("text/event-stream")
    assert "authorization" not in request.headers


def test_the_key_and_headers_of_the_endpoint_are_sent_but_say_nothing_of_ours() -> None:
    custom = {
        "X-Team": "a",
        "Webhook-Signature": "v1,forged",
        "webhook-more": "x",
        "Content-Type": "text/plain",
        "HOST": "evil",
    }
    headers = DIALECT.write(call(api_key="k", custom_headers=custom)).headers
    assert headers["authorization"] == "Bearer k"
    assert headers["x-team"] == "a"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-signature"] != "v1,forged"
    assert not {"host", "webhook-more"} & headers.keys()
    own = DIALECT.write(call(api_key="k", custom_headers={"Authorization": "Basic b"})).headers
    assert own["authorization"] == "Basic b"


def test_it_has_no_options() -> None:
    DIALECT.check_options({})
    with pytest.raises(InvalidRequest):
        DIALECT.check_options({"model": "m"})


def test_204_is_accepted() -> None:
    reader = DIALECT.reader(head("", 204), LIMITS)
    assert reader.done
    assert read(reader) == []
    assert reader.result() is None
    assert reader.said() is None


@pytest.mark.parametrize("status", [201, 202, 302, 400, 429, 500])
def test_other_statuses_are_refusals(status: int) -> None:
    with pytest.raises(CallRefused) as refused:
        DIALECT.reader(head("application/json", status, retry_after="7"), LIMITS)
    assert (refused.value.status, refused.value.retry_after) == (status, 7.0)


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b'{"text": "hi"}', ["hi"]),
        (b'{"text": ""}', []),
        (b'{"messages": [{"text": "a"}, {"text": "b"}]}', ["a", "b"]),
    ],
)
def test_a_json_answer_is_read_when_it_is_whole(body: bytes, texts: list[str]) -> None:
    reader = DIALECT.reader(head("application/json"), LIMITS)
    assert read(reader, body[:5], body[5:]) == []
    assert not reader.done
    drafts = reader.result()
    assert drafts is not None
    assert [draft.text for draft in drafts] == texts


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"txt": 1}'])
def test_a_json_answer_of_another_shape_is_invalid(body: bytes) -> None:
    reader = DIALECT.reader(head("text/html"), LIMITS)
    reader.feed(body)
    with pytest.raises(AnswerInvalid) as invalid:
        reader.result()
    assert invalid.value.status == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/event-stream; charset=utf-8", sse(*UI_STREAM, "[DONE]")),
        ("text/event-stream", sse(*UI_STREAM)),
        (NDJSON, lines(*UI_STREAM)),
        ("application/jsonl", lines(*UI_STREAM) + b"\n"),
    ],
)
def test_a_ui_message_stream_is_relayed_as_it_is(content_type: str, body: bytes) -> None:
    reader = DIALECT.reader(head(content_type), LIMITS)
    assert read(reader, *(body[at : at + 7] for at in range(0, len(body), 7))) == UI_STREAM
    assert reader.complete
    assert reader.result() == (HELLO,)


def test_nothing_is_read_after_the_last_word() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    assert (
        read(reader, sse(*UI_STREAM, "[DONE]", "nonsense", {"type": "error", "errorText": "x"})) == UI_STREAM
    )
    assert reader.done
    assert reader.result() == (HELLO,)


def test_data_may_follow_the_finish() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    reader.feed(sse(*UI_STREAM))
    assert not reader.done
    assert reader.complete
    assert reader.feed(sse({"type": "data-next", "data": ["a"]})) == [{"type": "data-next", "data": ["a"]}]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (NDJSON, lines({"delta": "Hel"}, {"delta": "lo"})),
        ("text/event-stream", sse({"delta": "Hel"}, {"delta": "lo"})),
        ("text/event-stream", sse({"delta": "Hel"}, {"delta": "lo"}, "[DONE]")),
    ],
)
def test_pieces_of_text_are_enough(content_type: str, body: bytes) -> None:
    reader = DIALECT.reader(head(content_type), LIMITS)
    relayed = read(reader, body)
    assert relayed == [chunk | ({"id": "text"} if "id" in chunk else {}) for chunk in UI_STREAM]
    assert reader.result() == (HELLO,)


def test_other_chunks_may_come_between_the_pieces() -> None:
    reader = DIALECT.reader(head(NDJSON), LIMITS)
    read(reader, lines({"delta": "a"}, {"type": "data-x", "data": 1}, {"delta": "b"}))
    drafts = reader.result()
    assert drafts is not None
    assert drafts[0].text == "ab"
    assert drafts[0].content is not None
    assert [part["type"] for part in drafts[0].content["parts"]] == ["text", "data-x"]


@pytest.mark.parametrize("body", [b"", sse(*UI_STREAM[:-1]), sse(*UI_STREAM[:3]), b": alive\n\n"])
def test_a_stream_that_breaks_off_is_invalid_but_what_it_said_is_there(body: bytes) -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, body)
    assert not reader.complete
    said = reader.said()
    assert (said.text if said else "") == ("Hello" if len(body) > 200 else "Hel" if len(body) > 20 else "")
    with pytest.raises(AnswerInvalid, match="ended before") as invalid:
        reader.result()
    assert invalid.value.status == 200


def test_a_stream_that_says_nothing_is_no_message() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse({"type": "start"}, {"type": "finish"}, "[DONE]"))
    assert reader.result() == ()


@pytest.mark.parametrize(
    "event",
    ["nonsense", "[]", '"text"', {"text": "x"}, {"delta": 1}, {"type": 1}, {"type": "text-delta", "id": "9"}],
)
def test_what_is_no_chunk_is_refused_at_once(event: Any) -> None:
    reader = DIALECT.reader(head(), LIMITS)
    with pytest.raises(AnswerInvalid) as invalid:
        reader.feed(sse(event))
    assert invalid.value.status == 200


def test_limits_hold_while_it_streams() -> None:
    reader = DIALECT.reader(head(NDJSON), LIMITS)
    piece = lines({"delta": "x" * 100}) + b"\n"
    for _ in range(10):
        reader.feed(piece)
    with pytest.raises(AnswerInvalid, match="over 1000 bytes"):
        reader.feed(piece)


def test_data_that_nests_too_deep_for_a_message_is_refused() -> None:
    def nested(levels: int) -> bytes:
        return b'data: {"type": "data-x", "data": ' + b"[" * levels + b"]" * levels + b"}\n\n"

    deepest = LIMITS.depth - 3  # content, parts and the part itself are three
    DIALECT.reader(head(), LIMITS).feed(nested(deepest))
    with pytest.raises(AnswerInvalid, match="deep"):
        DIALECT.reader(head(), LIMITS).feed(nested(deepest + 1))


def test_an_error_in_the_stream_is_the_agents() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    reader.feed(sse(*UI_STREAM[:3]))
    with pytest.raises(AgentFailed, match="out of luck") as failed:
        reader.feed(sse({"type": "error", "errorText": "out of luck"}))
    assert (failed.value.outcome, failed.value.status) == ("failed", 200)


def test_half_an_emoji_costs_no_more_than_itself() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse('{"delta": "a\\ud83d"}', '{"delta": "\\ude00\\u0000b"}', '{"delta": "\\ud83d\\ude00"}'))
    drafts = reader.result()
    assert drafts is not None
    assert drafts[0].text == "a\ufffd\ufffd\ufffdb😀"


def test_the_result_of_a_call_of_an_earlier_run_gets_a_call_to_belong_to() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    output = {"type": "tool-output-available", "toolCallId": "c", "output": 1}
    relayed = read(reader, sse(output, output, {"type": "finish"}))
    assert [chunk["type"] for chunk in relayed] == [
        "tool-input-available", "tool-output-available", "tool-output-available", "finish",
    ]  # fmt: skip
    drafts = reader.result()
    assert drafts is not None
    assert drafts[0].content is not None
    assert [part["output"] for part in drafts[0].content["parts"]] == [1]


def test_types_of_tomorrow_and_ends_without_a_start_are_not_relayed() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    strange = [{"type": "hologram", "x": 1}, {"type": "text-end", "id": "9"}]
    assert read(reader, sse(*strange, *UI_STREAM)) == UI_STREAM
