"""The dialect `webhook`: one signed JSON POST, as Standard Webhooks describes.

An agent answers with one of
- status 204: it accepts the call and will post its messages to `reply_url`;
- JSON, `{"text": …}` or `{"messages": […]}`;
- a stream, as Server-Sent Events (`text/event-stream`) or lines of JSON (`application/x-ndjson`), of
  - either the AI SDK's UI message stream (`{"type": "text-delta", …}`), ended by `finish`, `abort` or `[DONE]`,
  - or, the simplest that there is, pieces of text: `{"delta": "Hel"}`, `{"delta": "lo"}`. The end of the body is the
    end of the message; other chunks, such as `data-progress`, may come between them.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson

from agents.chunks import Chunk
from agents.dialects import payloads
from agents.dialects.base import Call, Reader, Request
from agents.dialects.headers import headers, signature
from agents.dialects.readers import AcceptedReader, StreamReader, WholeReader, check_status, decoder_for
from agents.door import Head
from agents.errors import AnswerInvalid
from agents.rules import Draft, message_as_dict, parse_answer
from conversations.errors import InvalidRequest
from conversations.rules import Limits

ACCEPT: Final = "text/event-stream, application/x-ndjson, application/json"
DONE: Final = "[DONE]"
"""The payload after which nothing follows, in OpenAI's streams and in the AI SDK's."""

_PLAIN_ID: Final = "text"


class Webhook:
    """See `agents.dialects.base.Dialect`."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """It has none."""
        if options:
            raise InvalidRequest("The dialect webhook has no options.", field="options")

    def write(self, call: Call) -> Request:
        """The call and its context as JSON, signed."""
        body = orjson.dumps(_body(call), option=orjson.OPT_UTC_Z)
        return Request(call.url, headers(call, ACCEPT) | signature(call, body), body)

    def reader(self, head: Head, limits: Limits, call: Call | None = None) -> Reader:
        """204: accepted. 200: a stream if its type says so, otherwise JSON."""
        check_status(head, 200, 204)
        if head.status == 204:
            return AcceptedReader()
        if head.is_stream:
            return StreamReader(decoder_for(head), UIMessages(), limits, head.status)
        return WholeReader(partial(_parse, limits=limits), head.status)


class UIMessages:
    """Reads the UI message stream, and the plain pieces of text. See `agents.dialects.readers.Translator`."""

    def __init__(self) -> None:
        self.done = False
        self._plain = False

    def translate(self, payload: str) -> list[Chunk]:
        """The chunk itself; a plain piece becomes a delta of the one text."""
        if payload.strip() == DONE:
            self.done = True
            return self._close()
        value = payloads.load(payload)
        if not isinstance(value, dict) or "type" in value:
            return [value]
        if not isinstance(delta := value.get("delta"), str):
            raise AnswerInvalid('A part of the stream is neither {"delta": "…"} nor an object with a type.')
        chunk = {"type": "text-delta", "id": _PLAIN_ID, "delta": delta}
        if self._plain:
            return [chunk]
        self._plain = True
        return [{"type": "start"}, {"type": "text-start", "id": _PLAIN_ID}, chunk]

    def end(self) -> list[Chunk]:
        """The end of the body ends plain text; everything else has to say that it is done."""
        return self._close()

    def _close(self) -> list[Chunk]:
        if not self._plain:
            return []
        self._plain = False
        return [{"type": "text-end", "id": _PLAIN_ID}, {"type": "finish"}]


def _parse(body: bytes, *, limits: Limits) -> tuple[Draft, ...]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise AnswerInvalid("The answer is not JSON; answer 204 to accept without one.") from None
    return parse_answer(value, limits)


def _body(call: Call) -> dict[str, Any]:
    return {
        "type": call.event,
        "id": str(call.call_id),
        # When it happened, which no retry changes; `webhook-timestamp` is when it was sent.
        "timestamp": call.messages[-1].created_at,
        "agent_id": call.agent_id,
        "dm_key": call.key if call.is_dm else None,
        "key": call.key,
        "epoch": call.epoch,
        "conversation": [message_as_dict(message) for message in call.messages],
        "new_from_seq": call.new_from_seq,
        "participants": call.participants,
        "reply_url": call.reply_url,
        "run_id": call.run_id,
    }
