"""The dialect `openai`."""

from typing import Any

import orjson
import pytest

from agents.dialects import DIALECTS, Reader
from agents.dialects.openai import completions_url, user_name
from agents.errors import AgentFailed, AnswerInvalid, CallRefused
from agents.rules import Draft
from conversations.errors import InvalidRequest
from tests.unit.agent_calls import LIMITS, call, head, message, read, sse

DIALECT = DIALECTS["openai"]


def body(*messages: Any, **changed: Any) -> Any:
    return orjson.loads(DIALECT.write(call(*messages, **changed)).body)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def answered(*events: Any) -> tuple[list[dict[str, Any]], Draft]:
    reader = DIALECT.reader(head(), LIMITS)
    relayed = read(reader, sse(*events))
    drafts = reader.result()
    assert drafts is not None
    return relayed, drafts[0]


def parts(draft: Draft) -> Any:
    assert draft.content is not None
    return draft.content["parts"]


@pytest.mark.parametrize(
    ("url", "posted_to"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/d/chat/completions?api-version=1", "http://h/d/chat/completions?api-version=1"),
        ("http://h/d?api-version=1", "http://h/d/chat/completions?api-version=1"),
    ],
)
def test_the_path_is_added_unless_it_is_there(url: str, posted_to: str) -> None:
    assert completions_url(url) == posted_to
    assert DIALECT.write(call(url=url)).url == posted_to


@pytest.mark.parametrize(
    ("name", "sent"),
    [("alice", "alice"), ("Älice B.", "lice_B"), ("日本", ""), ("a" * 99, "a" * 64), ("a@b.c", "a_b_c")],
)
def test_names_are_made_of_what_openai_takes(name: str, sent: str) -> None:
    assert user_name(name) == sent


def test_a_dm_becomes_a_chat() -> None:
    log = [
        message(1, text="hi"),
        message(2, "bot", "hello"),
        message(3, text=""),
        message(4, "server", "alice is premium", kind="system"),
        message(5, text="how are you?"),
    ]
    options = {"model": "m", "temperature": 0.0, "stop": ["x"], "extra": {"seed": 1, "model": "ignored"}}
    assert body(*log, options=options) == {
        "model": "m",
        "temperature": 0.0,
        "stop": ["x"],
        "seed": 1,
        "stream": True,
        "messages": [
            {"role": "user", "content": "hi", "name": "alice"},
            {"role": "assistant", "content": "hello"},
            {"role": "system", "content": "alice is premium"},
            {"role": "user", "content": "how are you?", "name": "alice"},
        ],
    }


def test_a_system_prompt_comes_first() -> None:
    messages = body(options={"system_prompt": "Be brief."})["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert len(messages) == 2


def test_in_a_group_everybody_is_named_in_the_words_themselves() -> None:
    people = [{"id": name, "kind": "user", "display_name": shown} for name, shown in
              [("alice", "Alice B"), ("bot", "Bot"), ("other-bot", "")]]  # fmt: skip
    log = [
        message(1, text="hi"),
        message(2, "bot", "yes?"),
        message(3, "other-bot", "me"),
        message(4, "gone", "bye"),
    ]
    assert body(*log, participants=people)["messages"] == [
        {"role": "user", "content": "Alice B: hi", "name": "Alice_B"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "other-bot: me", "name": "other-bot"},
        {"role": "user", "content": "gone: bye", "name": "gone"},
    ]


def tool_part(call_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "tool-search",
        "toolCallId": call_id,
        "state": "output-available",
        "input": {"q": 1},
    } | fields


def tool_call(call_id: str, name: str = "search", arguments: str = '{"q":1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_tools_of_an_answer_become_calls_and_results_step_by_step() -> None:
    answer = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "secret"},
        {"type": "text", "text": "I look."},
        tool_part("1", output={"found": 1}),
        tool_part("2", state="output-error", errorText="broken"),
        tool_part("3", state="input-available"),
        {"type": "step-start"},
        {"type": "text", "text": "Here."},
    ]
    log = [message(1), message(2, "bot", "I look.\n\nHere.", content={"parts": answer}), message(3)]
    assert body(*log)["messages"][1:-1] == [
        {"role": "assistant", "content": "I look.", "tool_calls": [tool_call("1"), tool_call("2")]},
        {"role": "tool", "tool_call_id": "1", "content": '{"found":1}'},
        {"role": "tool", "tool_call_id": "2", "content": "broken"},
        {"role": "assistant", "content": "Here."},
    ]


def test_calls_and_results_that_are_messages_are_put_together() -> None:
    log = [
        message(1),
        message(2, "bot", "", "tool_call", {"tool_call_id": "1", "tool_name": "search", "input": {"q": 1}}),
        message(3, text="hurry"),
        message(4, "alice", "", "tool_result", {"tool_call_id": "1", "output": "found"}),
        message(5, "bot", "", "tool_call", {"tool_call_id": "2", "tool_name": "search"}),
    ]
    assert body(*log)["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [tool_call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "user", "content": "hurry", "name": "alice"},
    ]


def test_the_result_of_a_tool_that_an_answer_called_comes_as_a_message() -> None:
    pending = {"parts": [tool_part("1", state="input-available")]}
    log = [
        message(1, "bot", "", content=pending),
        message(2, text="", kind="tool_result", content={"toolCallId": "1", "result": 7}),
    ]
    assert body(*log)["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": [tool_call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "7"},
    ]


def test_a_result_without_its_call_is_told_in_words() -> None:
    log = [message(2, text="", kind="tool_result", content={"toolCallId": "1", "output": "7"})]
    assert body(*log)["messages"] == [{"role": "user", "content": "Result of tool call 1: 7"}]


@pytest.mark.parametrize(
    "content",
    [{"parts": 7}, {"parts": [7, {"type": 7}, {"type": "tool-x"}, {"type": "tool-x", "toolCallId": 7}]},
     {"parts": [{"type": "text", "text": 7}]}, {"tool_call_id": 7}],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["text", "tool_call", "tool_result"])
def test_odd_content_does_no_harm(content: Any, kind: str) -> None:
    log = [
        message(1, text="hi"),
        message(2, "bot", "a", kind, content),
        message(3, "alice", "b", kind, content),
    ]
    assert body(*log)["messages"][0]["content"] == "hi"


def test_it_is_not_signed_and_the_key_says_who_calls() -> None:
    headers = DIALECT.write(call(api_key="sk", custom_headers={"OpenAI-Organization": "o"})).headers
    assert headers["authorization"] == "Bearer sk"
    assert headers["openai-organization"] == "o"
    assert not any(name.startswith("webhook-") for name in headers)


@pytest.mark.parametrize(
    "options",
    [{"model": 7}, {"temperature": "hot"}, {"temperature": True}, {"max_tokens": 0}, {"stop": [1]}, {"extra": []},
     {"modell": "m"}, {"extra": {"messages": []}}, {"extra": {"stream": False}}],
)  # fmt: skip
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        DIALECT.check_options(options)


def test_options_that_work_pass() -> None:
    DIALECT.check_options(
        {"model": "m", "temperature": 1, "top_p": 0.5, "max_tokens": 9, "stop": "x", "stream": False}
    )
    DIALECT.check_options({"model": None, "extra": {"tools": []}})
    assert body(options={"stream": False})["stream"] is False


def test_a_stream_is_translated() -> None:
    relayed, draft = answered(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"model": "m", "choices": [], "usage": {"total_tokens": 3}},
        "[DONE]",
    )
    assert relayed == [
        {"type": "start"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hel"},
        {"type": "text-delta", "id": "text-1", "delta": "lo"},
        {"type": "text-end", "id": "text-1"},
        {"type": "message-metadata", "messageMetadata": {"model": "m"}},
        {"type": "finish", "finishReason": "stop"},
        {"type": "message-metadata", "messageMetadata": {"usage": {"total_tokens": 3}}},
    ]
    assert (draft.text, draft.metadata) == ("Hello", {"model": "m", "usage": {"total_tokens": 3}})


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_reasoning(field: str) -> None:
    _, draft = answered(
        delta(**{field: "h"}), delta(**{field: "m"}), delta(content="Hi", **{field: None}), delta("stop")
    )
    assert parts(draft) == [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Hi"}]
    assert draft.text == "Hi"


def test_mistral_thinks_in_blocks() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    _, draft = answered(
        delta(content=[thinking]), delta(content=[{"type": "text", "text": "Hi"}]), delta("stop")
    )
    assert parts(draft) == [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Hi"}]


def piece(
    index: int | None, arguments: Any = None, call_id: str | None = None, name: str | None = None
) -> Any:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    given = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in given.items() if value is not None}


def test_tool_calls_are_put_together_by_their_index() -> None:
    relayed, draft = answered(
        delta(content="I look."),
        delta(tool_calls=[piece(0, "", "a", "search")]),
        delta(tool_calls=[piece(0, '{"q"'), piece(1, "", "b", "now")]),
        delta(tool_calls=[piece(0, ":1}")]),
        delta("tool_calls"),
        "[DONE]",
    )
    assert [chunk["type"] for chunk in relayed] == [
        "start", "text-start", "text-delta", "text-end",
        "tool-input-start", "tool-input-delta", "tool-input-start", "tool-input-delta",
        "tool-input-available", "tool-input-available", "message-metadata", "finish",
    ]  # fmt: skip
    assert parts(draft)[1:] == [
        {"type": "tool-search", "toolCallId": "a", "state": "input-available", "input": {"q": 1}},
        {"type": "tool-now", "toolCallId": "b", "state": "input-available", "input": {}},
    ]
    assert relayed[-1]["finishReason"] == "tool-calls"


def test_servers_number_tool_calls_as_they_like() -> None:
    gemini = [piece(0, "{}", "a", "t"), piece(0, '{"x":1}', "b", "u")]
    _, draft = answered(delta(tool_calls=gemini), delta("tool_calls"))
    assert [(part["toolCallId"], part["input"]) for part in parts(draft)] == [("a", {}), ("b", {"x": 1})]
    without = [piece(None, {"x": 1}, None, "t"), piece(None, "{}", None, "t")]
    _, draft = answered(delta(tool_calls=without), delta("stop"))
    assert [(part["toolCallId"], part["input"]) for part in parts(draft)] == [
        ("call_1", {"x": 1}),
        ("call_2", {}),
    ]


def test_input_that_is_not_json_is_kept_as_an_error() -> None:
    _, draft = answered(delta(tool_calls=[piece(0, '{"q":', "a", "t")]), delta("length"))
    assert parts(draft)[0]["state"] == "output-error"
    assert parts(draft)[0]["rawInput"] == '{"q":'


def test_an_answer_that_is_not_streamed_is_taken_as_well() -> None:
    completion = {
        "model": "m",
        "choices": [
            {
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": "hm"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"total_tokens": 3},
    }
    reader = DIALECT.reader(head("application/json"), LIMITS)
    assert read(reader, orjson.dumps(completion)) == []
    drafts = reader.result()
    assert drafts is not None
    assert parts(drafts[0]) == [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Hi"}]
    assert drafts[0].metadata == {"model": "m", "usage": {"total_tokens": 3}}


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": "x"}]}']
)
def test_json_that_is_no_completion_is_invalid(answer: bytes) -> None:
    reader = DIALECT.reader(head("application/json"), LIMITS)
    reader.feed(answer)
    with pytest.raises(AnswerInvalid) as invalid:
        reader.result()
    assert invalid.value.status == 200


def _read_to_the_end(reader: Reader, sent: bytes) -> None:
    reader.feed(sent)
    reader.result()


@pytest.mark.parametrize(
    ("error", "text"),
    [({"message": "overloaded", "code": 529}, "overloaded"), ("broken", "broken"), ({"x": 1}, '{"x":1}')],
)
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
def test_errors_of_the_server_are_failures(error: Any, text: str, content_type: str) -> None:
    reader = DIALECT.reader(head(content_type), LIMITS)
    sent = (
        sse(delta(content="a"), {"error": error})
        if "event" in content_type
        else orjson.dumps({"error": error})
    )
    with pytest.raises(AgentFailed) as failed:
        _read_to_the_end(reader, sent)
    assert (str(failed.value), failed.value.status) == (text, 200)


def test_a_stream_that_breaks_off_is_invalid() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse(delta(content="a")))
    assert not reader.complete
    with pytest.raises(AnswerInvalid, match="ended before"):
        reader.result()


def test_a_stream_is_whole_once_it_has_a_reason_to_finish_or_says_done() -> None:
    finished = DIALECT.reader(head(), LIMITS)
    finished.feed(sse(delta(content="a"), delta("length")))
    assert (finished.complete, finished.done) == (True, False)
    done = DIALECT.reader(head(), LIMITS)
    relayed = read(done, sse(delta(content="a"), "[DONE]"))
    assert (done.complete, done.done) == (True, True)
    assert relayed[-1]["type"] == "finish"


def test_signs_of_life_and_other_choices_are_passed_over() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    _, draft = answered(
        {}, {"choices": None}, {"choices": [7]}, other, delta(content="a"), delta(), delta("stop")
    )
    assert draft.text == "a"


@pytest.mark.parametrize("event", ["nonsense", "[]", delta(tool_calls=[piece(0, "{}")])])
def test_what_cannot_be_read_is_refused(event: Any) -> None:
    with pytest.raises(AnswerInvalid):
        DIALECT.reader(head(), LIMITS).feed(sse(event))


def test_a_busy_server_says_when_to_come_back() -> None:
    with pytest.raises(CallRefused) as refused:
        DIALECT.reader(head("application/json", 429, retry_after="20"), LIMITS)
    assert (refused.value.status, refused.value.retry_after) == (429, 20.0)
    with pytest.raises(CallRefused):
        DIALECT.reader(head("application/json", 204), LIMITS)
