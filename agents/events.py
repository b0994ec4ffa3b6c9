"""What a subscription is told: one signed JSON POST, as Standard Webhooks describes. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from agents.calls import ClaimedStream
from agents.rules import ContextMessage, message_as_dict


def log_event(stream: ClaimedStream, messages: Sequence[ContextMessage]) -> bytes:
    """`message.created` or `broadcast.created`: the next messages of one conversation, in order."""
    body = _head(stream, messages[-1].created_at)
    return _encode(body | {"messages": [message_as_dict(message) for message in messages]})


def inbox_event(stream: ClaimedStream, entries: Mapping[str, Mapping[str, Any]], now: datetime) -> bytes:
    """`inbox.updated`: the newest inbox entry of each participant whose entry of this conversation may have changed."""
    updates = [{"participant_id": participant_id, **entry} for participant_id, entry in entries.items()]
    return _encode(_head(stream, now) | {"updates": updates})


def _head(stream: ClaimedStream, timestamp: datetime) -> dict[str, Any]:
    return {
        "type": stream.event,
        "id": stream.call_id,
        "timestamp": timestamp,
        "subscription_id": stream.endpoint_name.removeprefix("subscription-"),
        "key": stream.key,
        "dm_key": stream.key if stream.is_dm else None,
        "epoch": stream.epoch,
    }


def _encode(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_UTC_Z)
