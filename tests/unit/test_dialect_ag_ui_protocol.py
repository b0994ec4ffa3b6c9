"""The dialect `ag-ui` against the protocol's own package: what we send validates, every event it has is handled."""

from typing import Any

import pytest
from ag_ui import core
from ag_ui.encoder import EventEncoder

from agents.dialects import DIALECTS
from agents.dialects.ag_ui_events import _HANDLERS, IGNORED
from agents.dialects.ag_ui_shared import SHARING
from tests.unit.agent_calls import LIMITS, call, head, message, read

DIALECT = DIALECTS["ag-ui"]
ENCODER = EventEncoder()


def events(*sent: core.BaseEvent) -> bytes:
    return "".join(map(ENCODER.encode, sent)).encode()


def test_what_is_sent_is_a_run_agent_input() -> None:
    tools = [
        {"type": "tool-t", "toolCallId": "1", "state": "output-available", "input": {"q": 1}, "output": [1]},
        {"type": "tool-t", "toolCallId": "2", "state": "output-error", "input": None, "errorText": "no"},
        {"type": "text", "text": "Here."},
    ]
    resume = {"interruptId": "i", "status": "resolved", "payload": {"approved": True}}
    log = [
        message(1),
        message(2, "bot", "Here.", content={"parts": tools}),
        message(3, "server", kind="system"),
        message(4, content={"resume": [resume]}),
    ]
    options = {"tools": [{"name": "t", "description": "d", "parameters": {}}], "protocol_version": "1.0"}
    request = DIALECT.write(call(*log, options=options, members=("alice", "bob", "bot")))
    sent = core.RunAgentInput.model_validate_json(request.body)
    assert [type(m) for m in sent.messages] == [
        core.UserMessage, core.AssistantMessage, core.ToolMessage, core.ToolMessage, core.AssistantMessage,
        core.SystemMessage, core.UserMessage,
    ]  # fmt: skip
    assert sent.messages[0].name == "alice"
    assert sent.messages[1].tool_calls[0].function.arguments == '{"q":1}'
    assert sent.messages[3].error == "no"
    assert sent.resume == [core.ResumeEntry(**resume)]
    assert sent.protocol_version == "1.0"
    # Nothing is spelt in a way that the protocol does not know.
    assert not sent.model_extra
    assert not any(m.model_extra for m in sent.messages)
    assert len({m.id for m in sent.messages}) == len(sent.messages)


def test_every_event_of_the_protocol_is_handled() -> None:
    handled = {*_HANDLERS, *SHARING, *IGNORED}
    assert {kind.value for kind in core.EventType} <= handled


EVENTS: list[tuple[core.BaseEvent, str | None]] = [
    (core.StepStartedEvent(step_name="s"), "start-step"),
    (core.StepFinishedEvent(step_name="s"), "finish-step"),
    (core.TextMessageStartEvent(message_id="t"), "text-start"),
    (core.TextMessageContentEvent(message_id="m", delta="x"), "text-delta"),
    (core.TextMessageEndEvent(message_id="m"), "text-end"),
    (core.TextMessageChunkEvent(message_id="t", delta="x"), "text-start"),
    (core.ReasoningStartEvent(message_id="r"), None),
    (core.ReasoningMessageStartEvent(message_id="r"), "reasoning-start"),
    (core.ReasoningMessageContentEvent(message_id="q", delta="x"), "reasoning-delta"),
    (core.ReasoningMessageEndEvent(message_id="q"), "reasoning-end"),
    (core.ReasoningMessageChunkEvent(message_id="r", delta="x"), "reasoning-start"),
    (core.ReasoningEndEvent(message_id="r"), None),
    (core.ReasoningEncryptedValueEvent(subtype="message", entity_id="r", encrypted_value="x"), None),
    (core.ToolCallStartEvent(tool_call_id="t", tool_call_name="n"), "tool-input-start"),
    (core.ToolCallArgsEvent(tool_call_id="c", delta="{}"), "tool-input-delta"),
    (core.ToolCallEndEvent(tool_call_id="c"), "tool-input-available"),
    (core.ToolCallChunkEvent(tool_call_id="t", tool_call_name="n"), "tool-input-start"),
    (core.ToolCallResultEvent(message_id="x", tool_call_id="c", content="y"), "tool-input-available"),
    (core.StateSnapshotEvent(snapshot={"n": 1}), "data-state"),
    (core.StateDeltaEvent(delta=[{"op": "add", "path": "/n", "value": 1}]), "data-state-delta"),
    (core.MessagesSnapshotEvent(messages=[core.UserMessage(id="1", content="x")]), None),
    (core.ActivitySnapshotEvent(message_id="a", activity_type="P", content={}), "data-activity"),
    (core.ActivityDeltaEvent(message_id="a", activity_type="P", patch=[]), "data-activity-delta"),
    (core.RawEvent(event={}), None),
    (core.CustomEvent(name="n", value=None), "data-n"),
    (core.SubagentStartedEvent(name="s", subagent_run_id="s"), "data-subagent"),
    (core.SubagentFinishedEvent(subagent_run_id="s"), "data-subagent"),
    (core.SubagentErrorEvent(subagent_run_id="s", message="m"), "data-subagent"),
]


@pytest.mark.parametrize(("event", "kind"), EVENTS, ids=lambda value: getattr(value, "type", value))
def test_an_event_as_the_protocol_writes_it_is_read(event: core.BaseEvent, kind: str | None) -> None:
    reader = DIALECT.reader(head(), LIMITS)
    reader.feed(
        events(
            core.RunStartedEvent(thread_id="t", run_id="r"),
            core.ReasoningMessageStartEvent(message_id="q"),
            core.TextMessageStartEvent(message_id="m"),
            core.ToolCallStartEvent(tool_call_id="c", tool_call_name="n"),
        )
    )
    relayed = reader.feed(events(event))
    assert (relayed[0]["type"] if relayed else None) == kind
    read(reader, events(core.RunFinishedEvent(thread_id="t", run_id="r")))
    assert reader.result()


def test_the_table_above_has_every_event() -> None:
    ends = {core.EventType.RUN_STARTED, core.EventType.RUN_FINISHED, core.EventType.RUN_ERROR}
    assert {event.type for event, _ in EVENTS} | ends == set(core.EventType)


@pytest.mark.parametrize(
    ("outcome", "status", "kinds"),
    [
        (core.RunFinishedSuccessOutcome(type="success", pending_tool_call_ids=["c"]), "complete", ["text"]),
        (core.RunFinishedCancelledOutcome(type="cancelled"), "aborted", ["text"]),
        (
            core.RunFinishedInterruptOutcome(
                type="interrupt", interrupts=[core.Interrupt(id="i", reason="tool_call")]
            ),
            "complete",
            ["text", "data-interrupt"],
        ),
    ],
)
def test_a_run_ends_in_each_way_that_the_protocol_has(outcome: Any, status: str, kinds: list[str]) -> None:
    reader = DIALECT.reader(head(), LIMITS)
    read(
        reader,
        events(
            core.TextMessageStartEvent(message_id="m"),
            core.TextMessageContentEvent(message_id="m", delta="x"),
            core.RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome),
        ),
    )
    drafts = reader.result()
    assert drafts
    assert drafts[0].content is not None
    assert drafts[0].content["status"] == status
    assert [part["type"] for part in drafts[0].content["parts"]] == kinds
