"""The dialect `ag-ui`."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from agents.dialects import DIALECTS
from agents.dialects.json_patch import Document, PatchFailed
from agents.errors import AgentFailed, AnswerInvalid, CallRefused
from agents.rules import Draft
from conversations.errors import InvalidRequest
from tests.unit.agent_calls import LIMITS, SECRET, call, head, message, read, sse

DIALECT = DIALECTS["ag-ui"]

Event = dict[str, Any]

STARTED = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
FINISHED = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}


def body(*messages: Any, **changed: Any) -> Any:
    return orjson.loads(DIALECT.write(call(*messages, **changed)).body)


def relayed(*events: Event) -> list[Event]:
    """What comes of the events of a whole run, without its start and finish."""
    reader = DIALECT.reader(head(), LIMITS)
    chunks = read(reader, sse(STARTED, *events, FINISHED))
    assert reader.done
    assert (chunks[0], chunks[-1]) == ({"type": "start"}, {"type": "finish"})
    return chunks[1:-1]


def draft(*events: Event, state: Any = None) -> Draft:
    given = call(options={"state": state}) if state is not None else None
    reader = DIALECT.reader(head(), LIMITS, given)
    read(reader, sse(STARTED, *events, FINISHED))
    drafts = reader.result()
    assert drafts
    return drafts[0]


def parts(*events: Event, state: Any = None) -> list[Event]:
    content = draft(*events, state=state).content
    assert content is not None
    found: list[Event] = content["parts"]
    return found


def text(delta: str, kind: str = "TEXT_MESSAGE", own_id: str = "m") -> list[Event]:
    return [
        {"type": f"{kind}_START", "messageId": own_id, "role": "assistant"},
        {"type": f"{kind}_CONTENT", "messageId": own_id, "delta": delta},
        {"type": f"{kind}_END", "messageId": own_id},
    ]


def test_a_call_is_the_input_of_a_run() -> None:
    log = [message(1, text="hi"), message(2, "bot", "yes?"), message(3, "x", "note", kind="system")]
    assert body(*log) == {
        "threadId": f"alice:bot:{UUID(int=3)}",
        "runId": str(UUID(int=2)),
        "state": {},
        "messages": [
            {"id": "message-1", "role": "user", "content": "hi", "name": "alice"},
            {"id": "message-2", "role": "assistant", "content": "yes?"},
            {"id": "message-3", "role": "system", "content": "note"},
        ],
        "tools": [],
        "context": [],
        "forwardedProps": {},
    }


def test_a_call_is_signed() -> None:
    request = DIALECT.write(call(now=datetime.now(UTC), api_key="k"))
    Verifier(SECRET).verify(request.body, request.headers)
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["authorization"] == "Bearer k"


def test_options_are_sent() -> None:
    options = {
        "state": {"n": 1},
        "tools": [{"name": "t", "description": "", "parameters": {}}],
        "context": [{"description": "d", "value": "v"}],
        "forwarded_props": {"p": 1},
        "protocol_version": "1.0",
    }
    DIALECT.check_options(options)
    sent = body(options=options)
    assert (sent["state"], sent["tools"], sent["context"]) == ({"n": 1}, options["tools"], options["context"])
    assert (sent["forwardedProps"], sent["protocolVersion"]) == ({"p": 1}, "1.0")


@pytest.mark.parametrize(
    "options", [{"tools": {}}, {"context": [1]}, {"protocol_version": 1}, {"model": "m"}]
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        DIALECT.check_options(options)


def test_the_state_goes_on_where_the_agent_left_it() -> None:
    def state(n: int) -> Any:
        return {"parts": [{"type": "data-state", "id": "state", "data": {"n": n}}]}

    log = [
        message(1, "bot", content=state(1)),
        message(2, "bot", content=state(2)),
        message(3, content=state(9)),
    ]
    assert body(*log, options={"state": {"n": 0}})["state"] == {"n": 2}


def test_tools_and_their_results_are_messages() -> None:
    def part(call_id: str, **fields: Any) -> Event:
        return {"type": "tool-t", "toolCallId": call_id, "state": "output-available", "input": {}} | fields

    answer = [part("1", output={"a": 1}), part("2", state="output-error", errorText="no")]
    sent = body(message(1, "bot", "", content={"parts": answer}), message(2))["messages"]
    assert [m["role"] for m in sent] == ["assistant", "tool", "tool", "user"]
    assert [c["id"] for c in sent[0]["toolCalls"]] == ["1", "2"]
    assert sent[1] == {"id": "result-1", "role": "tool", "toolCallId": "1", "content": '{"a":1}'}
    assert sent[2]["error"] == "no"


def test_an_interrupt_is_answered_by_a_new_message() -> None:
    pending = {"type": "tool-t", "toolCallId": "1", "state": "input-available", "input": {}}
    resume = {"interruptId": "i", "status": "resolved", "payload": {"approved": True}}
    log = [
        message(1, "bot", "", content={"parts": [pending]}),
        message(2, text="", content={"resume": [resume, {"interruptId": 7}, 7]}),
    ]
    sent = body(*log, new_from_seq=2)
    assert sent["resume"] == [resume]
    assert sent["messages"][0]["toolCalls"][0]["id"] == "1"
    sent = body(*log, message(3), new_from_seq=3)  # it is not new any more, and the call cannot be answered
    assert "resume" not in sent
    assert [m["role"] for m in sent["messages"]] == ["user"]
    assert "resume" not in body(message(1, content={"resume": "now"}))


def test_text_is_relayed_and_kept() -> None:
    assert relayed(*text("Hello")) == [
        {"type": "text-start", "id": "m"},
        {"type": "text-delta", "id": "m", "delta": "Hello"},
        {"type": "text-end", "id": "m"},
    ]
    assert draft(*text("Hello"), *text(" you", own_id="n")).text == "Hello you"
    assert parts(*text("hm", "REASONING_MESSAGE"), *text("Hi", own_id="n")) == [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "Hi"},
    ]


def test_thinking_of_0x_is_reasoning() -> None:
    thinking: list[Event] = [{"type": "THINKING_START", "title": "T"}]
    for words in ("a", "b"):
        thinking += [
            {"type": "THINKING_TEXT_MESSAGE_START"},
            {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": words},
            {"type": "THINKING_TEXT_MESSAGE_END"},
        ]
    assert parts(*thinking, {"type": "THINKING_END"}) == [
        {"type": "reasoning", "text": "a"},
        {"type": "reasoning", "text": "b"},
    ]


def test_chunk_events_open_and_close_by_themselves() -> None:
    events: list[Event] = [
        {"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "h"},
        {"type": "REASONING_MESSAGE_CHUNK", "delta": "m"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a", "role": "assistant", "delta": "1"},
        {"type": "STATE_DELTA", "delta": []},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a", "delta": "2"},
        {"type": "TEXT_MESSAGE_CHUNK"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "b", "delta": "3"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c", "toolCallName": "t", "delta": '{"q":'},
        {"type": "TOOL_CALL_CHUNK", "delta": "1}"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "d", "toolCallName": "t"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "e", "delta": "4"},
    ]
    assert [chunk["type"] for chunk in relayed(*events)] == [
        "reasoning-start", "reasoning-delta", "reasoning-delta", "reasoning-end",
        "text-start", "text-delta", "data-state-delta", "text-delta", "text-end",
        "text-start", "text-delta", "text-end",
        "tool-input-start", "tool-input-delta", "tool-input-delta", "tool-input-available",
        "tool-input-start", "tool-input-available",
        "text-start", "text-delta", "text-end",
    ]  # fmt: skip
    assert draft(*events).text == "123\n\n4"
    with pytest.raises(AnswerInvalid, match="must name its id"):
        relayed({"type": "TEXT_MESSAGE_CHUNK", "delta": "x"})


def test_messages_of_others_are_only_repeated() -> None:
    user = text("I said", own_id="u")
    user[0]["role"] = "user"
    assert (
        relayed(*user, {"type": "TEXT_MESSAGE_CHUNK", "messageId": "v", "role": "user", "delta": "x"}) == []
    )


def test_a_tool_call_and_its_result() -> None:
    events: list[Event] = [
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t", "parentMessageId": "m"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"q":'},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "1}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {"type": "TOOL_CALL_RESULT", "messageId": "x", "toolCallId": "c", "content": "found", "role": "tool"},
    ]
    part = {"type": "tool-t", "toolCallId": "c", "input": {"q": 1}}
    assert parts(*events) == [part | {"state": "output-available", "output": "found"}]
    assert parts(*events[:4]) == [part | {"state": "input-available"}]
    assert parts(*events[:3], events[4]) == parts(*events)  # without an end
    assert parts(*events[:3]) == parts(*events[:4])
    assert parts(*events[:2], events[3])[0]["state"] == "output-error"
    assert parts(events[4])[0]["output"] == "found"  # asked for by an earlier run
    several = events[4] | {"content": [{"type": "text", "text": "found"}]}
    assert parts(*events[:4], several)[0]["output"] == [{"type": "text", "text": "found"}]


def test_steps_make_paragraphs() -> None:
    def step(*events: Event) -> list[Event]:
        return [
            {"type": "STEP_STARTED", "stepName": "s"},
            *events,
            {"type": "STEP_FINISHED", "stepName": "s"},
        ]

    assert draft(*step(*text("One.")), *step(*text("Two.", own_id="n"))).text == "One.\n\nTwo."


def test_the_state_is_seen_changing_and_kept_as_it_ends() -> None:
    events: list[Event] = [
        {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1, "list": []}},
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/list/-", "value": "a"}]},
        {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]},
        {"type": "STATE_DELTA", "delta": [{"op": "remove", "path": "/nowhere"}]},
    ]
    assert [(chunk["type"], chunk.get("transient")) for chunk in relayed(*events)] == [
        ("data-state", None), *[("data-state-delta", True)] * 3, ("data-state", None),
    ]  # fmt: skip
    assert relayed(*events)[0]["data"] == {"n": 1, "list": []}
    assert parts(*events) == [{"type": "data-state", "id": "state", "data": {"n": 2, "list": ["a"]}}]


def test_deltas_build_on_the_state_that_the_run_was_given() -> None:
    delta = {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]}
    assert parts(delta, state={"n": 1, "m": 1})[0]["data"] == {"n": 2, "m": 1}


def test_activities_are_data() -> None:
    snapshot = {
        "type": "ACTIVITY_SNAPSHOT",
        "messageId": "a",
        "activityType": "PLAN",
        "content": {"steps": [1]},
    }
    delta = {
        "type": "ACTIVITY_DELTA", "messageId": "a", "activityType": "PLAN",
        "patch": [{"op": "add", "path": "/steps/0", "value": 0}],
    }  # fmt: skip
    unasked = snapshot | {"content": {}, "replace": False}
    assert parts(snapshot, delta, unasked) == [
        {"type": "data-activity", "id": "a", "data": {"activityType": "PLAN", "content": {"steps": [0, 1]}}}
    ]
    assert relayed(delta)[0]["transient"]


def test_custom_events_subagents_and_results_are_data() -> None:
    sub = {"subagentRunId": "s"}
    events: list[Event] = [
        {"type": "CUSTOM", "name": "weather", "value": [1]},
        {"type": "SUBAGENT_STARTED", "name": "helper", **sub},
        {"type": "SUBAGENT_FINISHED", **sub},
        {"type": "RAW", "event": {}},
        {"type": "EVENT_OF_TOMORROW"},
    ]
    assert parts(*events) == [
        {"type": "data-weather", "data": [1]},
        {"type": "data-subagent", "id": "s", "data": {"status": "finished"}},
    ]
    reader = DIALECT.reader(head(), LIMITS)
    usage = [{"model": "m", "inputTokens": 1}]
    read(reader, sse(STARTED, FINISHED | {"result": {"r": 1}, "usage": usage}))
    drafts = reader.result()
    assert drafts
    assert drafts[0].metadata == {"usage": usage}
    assert drafts[0].content == {"parts": [{"type": "data-result", "data": {"r": 1}}], "status": "complete"}


def test_an_interrupt_is_data_and_ends_the_run() -> None:
    interrupt = {"id": "i", "reason": "tool_call", "toolCallId": "c"}
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse(STARTED, FINISHED | {"outcome": {"type": "interrupt", "interrupts": [interrupt]}}))
    drafts = reader.result()
    assert drafts
    assert drafts[0].content == {
        "parts": [{"type": "data-interrupt", "id": "i", "data": interrupt}], "status": "complete",
    }  # fmt: skip


def test_a_cancelled_run_is_aborted() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse(STARTED, *text("Hel"), FINISHED | {"outcome": {"type": "cancelled"}}))
    drafts = reader.result()
    assert drafts
    assert drafts[0].content == {"parts": [{"type": "text", "text": "Hel"}], "status": "aborted"}


def test_a_snapshot_of_the_messages_speaks_only_for_who_said_nothing() -> None:
    tool = {"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    snapshot = {
        "type": "MESSAGES_SNAPSHOT",
        "messages": [
            {"id": "1", "role": "assistant", "content": "old"},
            {"id": "2", "role": "user", "content": "hi"},
            {"id": "3", "role": "assistant", "content": "new", "toolCalls": [tool]},
            {"id": "4", "role": "tool", "toolCallId": "c", "content": "x"},
            7,
        ],
    }
    assert [part["type"] for part in parts(snapshot)] == ["text", "tool-t"]
    assert draft(snapshot).text == "new"
    assert draft(*text("said"), snapshot).text == "said"


def test_an_error_of_the_run_is_the_agents() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    with pytest.raises(AgentFailed) as failed:
        reader.feed(sse(STARTED, *text("a"), {"type": "RUN_ERROR", "message": "out of luck", "code": "luck"}))
    assert (str(failed.value), failed.value.status) == ("out of luck (luck)", 200)
    said = reader.said()
    assert said is not None
    assert said.text == "a"


def test_a_run_that_never_finishes_broke_off() -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(reader, sse(STARTED, *text("a")))
    assert not reader.complete
    with pytest.raises(AnswerInvalid, match="ended before"):
        reader.result()


@pytest.mark.parametrize(
    "event",
    ["nonsense", "7", {}, {"type": 7}, {"type": "TEXT_MESSAGE_CONTENT", "messageId": "9", "delta": "x"},
     {"type": "TEXT_MESSAGE_START"}, {"type": "TOOL_CALL_ARGS", "toolCallId": "9", "delta": "x"},
     {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": ""}, {"type": "CUSTOM", "value": 1},
     {"type": "STATE_SNAPSHOT", "snapshot": "x" * 5_000},
     '{"type": "STATE_SNAPSHOT", "snapshot": ' + "[" * 300 + "]" * 300 + "}",
     FINISHED | {"outcome": {"type": "interrupt", "interrupts": [7]}}],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(event: Any) -> None:
    with pytest.raises(AnswerInvalid):
        DIALECT.reader(head(), LIMITS).feed(sse(event))


def test_other_answers_are_refused() -> None:
    with pytest.raises(AnswerInvalid, match="text/event-stream"):
        DIALECT.reader(head("application/json"), LIMITS)
    with pytest.raises(CallRefused):
        DIALECT.reader(head("text/event-stream", 422), LIMITS)


PATCHES: list[tuple[Any, Any, Any]] = [
    ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
    ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}],
     {"a": [1], "b": [1, 2]}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": 1}], {"a": 1, "b": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "patch", "after"), PATCHES)
def test_patches_are_applied(before: Any, patch: Any, after: Any) -> None:
    document = Document(before)
    document.apply(patch)
    assert document.value == after


@pytest.mark.parametrize(
    "patch",
    [7, [7], [{}], [{"op": "add"}], [{"op": "add", "path": "x", "value": 1}], [{"op": "add", "path": "/l/5", "value": 1}],
     [{"op": "remove", "path": "/l/01"}], [{"op": "remove", "path": "/l/-"}], [{"op": "remove", "path": ""}],
     [{"op": "replace", "path": "/none", "value": 1}], [{"op": "test", "path": "/n", "value": 2}],
     [{"op": "nonsense", "path": "/n"}], [{"op": "add", "path": "/n/x", "value": 1}], [{"op": "remove", "path": None}],
     [{"op": "move", "from": "/l", "path": "/l/0"}]],
)  # fmt: skip
def test_a_patch_that_does_not_fit_fails(patch: Any) -> None:
    with pytest.raises(PatchFailed):
        Document({"n": 1, "l": [1]}).apply(patch)


def test_a_document_that_doubles_itself_is_stopped() -> None:
    document = Document({"l": ["x" * 1_000]})
    with pytest.raises(PatchFailed, match="too much is copied"):
        document.apply([{"op": "copy", "from": "", "path": "/l/-"}] * 12)
