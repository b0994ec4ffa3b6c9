"""The dialect `ag-ui`: the Agent-User Interaction protocol, which most agent frameworks serve: https://docs.ag-ui.com.

One POST of a `RunAgentInput`, signed like a `webhook`, answered by Server-Sent Events. Options: `state`, what a
conversation's state starts from (later runs get the newest `data-state` of the agent); `tools`, those of the client, as
AG-UI describes them; `forwarded_props`; `context`, a list of `{description, value}`; `protocol_version`, sent only if it
is set: agents of 0.x may refuse a field that they do not know.

What an agent shares becomes data: see `ag_ui_shared`; what a run returns is `data-result`. An interrupt is
`data-interrupt`, and is answered by a message whose content holds `resume`: a list of `{interruptId, status, payload}`.
A tool of the client is answered by a message of kind `tool_result`.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from agents.dialects.ag_ui_events import Events
from agents.dialects.ag_ui_shared import STATE
from agents.dialects.base import Call, Reader, Request
from agents.dialects.headers import headers, signature
from agents.dialects.options import ANYTHING, OBJECTS, TEXT, check
from agents.dialects.readers import StreamReader, check_status, decoder_for
from agents.dialects.turns import Turn, last_part, turns
from agents.door import Head
from agents.errors import AnswerInvalid
from conversations.rules import Limits

ACCEPT: Final = "text/event-stream"

_OPTIONS: Final = {
    "state": ANYTHING,
    "tools": OBJECTS,
    "forwarded_props": ANYTHING,
    "context": OBJECTS,
    "protocol_version": TEXT,
}


class AgUi:
    """See `agents.dialects.base.Dialect`."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """See the module."""
        check(options, _OPTIONS)

    def write(self, call: Call) -> Request:
        """The context as AG-UI messages. Every field of 0.x is there, for its servers require them."""
        body = orjson.dumps(_input(call))
        return Request(call.url, headers(call, ACCEPT) | signature(call, body), body)

    def reader(self, head: Head, limits: Limits, call: Call | None = None) -> Reader:
        """200 with a stream. With the call it knows the state that deltas build on."""
        check_status(head, 200)
        if not head.is_stream:
            raise AnswerInvalid(
                f"An AG-UI agent answers with {ACCEPT}, not {head.content_type or 'nothing'}.",
                status=head.status,
            )
        state = _state(call) if call is not None else None
        return StreamReader(decoder_for(head), Events(state), limits, head.status)


def _input(call: Call) -> dict[str, Any]:
    options, resume = call.options, _resume(call)
    body = {
        # The key says which conversation it is, the epoch that it is the same one.
        "threadId": f"{call.key}:{call.epoch}",
        "runId": str(call.run_id),
        "state": _state(call),
        "messages": [
            message for turn in turns(call, keep_pending=bool(resume)) for message in _messages(turn)
        ],
        "tools": options.get("tools") or [],
        "context": options.get("context") or [],
        "forwardedProps": {} if options.get("forwarded_props") is None else options["forwarded_props"],
    }
    if options.get("protocol_version"):
        body["protocolVersion"] = options["protocol_version"]
    return body | {"resume": resume} if resume else body


def _messages(turn: Turn) -> list[dict[str, Any]]:
    message: dict[str, Any] = {"id": turn.id, "role": turn.role, "content": turn.text}
    if turn.name:
        message["name"] = turn.name
    if turn.calls:
        message["toolCalls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.calls
        ]
    results = []
    for result in turn.results:
        told = {"id": f"result-{result.call_id}", "role": "tool", "toolCallId": result.call_id}
        results.append(told | {"content": result.text} | ({"error": result.text} if result.failed else {}))
    return [message, *results]


def _state(call: Call) -> Any:
    part = last_part(call, STATE)
    state = call.options.get("state") if part is None else part.get("data")
    return {} if state is None else state


def _resume(call: Call) -> list[dict[str, Any]]:
    """The answers to interrupts among the new messages."""
    found: list[dict[str, Any]] = []
    for message in call.messages:
        if message.seq >= call.new_from_seq and '"resume"' in message.content:
            entries = orjson.loads(message.content).get("resume")
            found += [e for e in entries if _answers(e)] if isinstance(entries, list) else []
    return found


def _answers(entry: Any) -> bool:
    named = isinstance(entry, dict) and isinstance(entry.get("interruptId"), str)
    return named and entry.get("status") in ("resolved", "cancelled")
