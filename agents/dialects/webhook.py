"""The dialect `webhook`: one signed JSON POST, as Standard Webhooks describes, answered with 204 or with JSON."""

from contextlib import suppress
from typing import Any, Final

import orjson

from agents import signing
from agents.dialects.base import Call, Request
from agents.door import Response
from agents.errors import AnswerInvalid, CallRefused
from agents.rules import ContextMessage, Draft, parse_answer
from conversations.rules import Limits

EVENT_TYPE: Final = "message.created"
_EMPTY: Final = orjson.Fragment(b"{}")


class Webhook:
    """See `agents.dialects.base.Dialect`."""

    def write(self, call: Call) -> Request:
        """`webhook-id` is the call's id: an agent may drop one that it has seen."""
        call_id, timestamp = str(call.call_id), int(call.now.timestamp())
        body = orjson.dumps(_body(call, call_id), option=orjson.OPT_UTC_Z)
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "webhook-id": call_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.sign(call.secrets, call_id, timestamp, body),
        }
        return Request(headers, body)

    def read(self, response: Response, limits: Limits) -> tuple[Draft, ...] | None:
        """204: accepted. 200: JSON with `text` or `messages`."""
        if response.status == 204:
            return None
        if response.status != 200:
            raise CallRefused(
                f"The agent answered with status {response.status}.",
                status=response.status,
                retry_after=_seconds(response.retry_after),
            )
        try:
            value = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            raise AnswerInvalid(
                "The answer is not JSON; answer 204 to accept without one.", status=200
            ) from None
        try:
            return parse_answer(value, limits)
        except AnswerInvalid as error:
            raise AnswerInvalid(str(error), status=200) from None


def _body(call: Call, call_id: str) -> dict[str, Any]:
    return {
        "type": EVENT_TYPE,
        "id": call_id,
        # When it happened, which no retry changes; `webhook-timestamp` is when it was sent.
        "timestamp": call.messages[-1].created_at,
        "agent_id": call.agent_id,
        "dm_key": call.key if call.is_dm else None,
        "key": call.key,
        "epoch": call.epoch,
        "conversation": [_message(message) for message in call.messages],
        "new_from_seq": call.new_from_seq,
        "participants": call.participants,
        "reply_url": call.reply_url,
        "run_id": call.run_id,
    }


def _message(message: ContextMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "seq": message.seq,
        "sender_id": message.sender_id,
        "kind": message.kind,
        "text": message.text,
        "content": _json(message.content),
        "metadata": _json(message.metadata),
        "reply_to": message.reply_to,
        "created_at": message.created_at,
    }


def _json(stored: str) -> orjson.Fragment:
    return _EMPTY if stored == "{}" else orjson.Fragment(stored)


def _seconds(retry_after: str | None) -> float | None:
    # The other form, a date, is rare: the retry schedule serves it.
    with suppress(ValueError):
        return float(int(retry_after or ""))
    return None
