"""The headers of a call. Pure."""

from typing import Final

from agents import signing
from agents.dialects.base import Call

_OURS: Final = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "host"})


def headers(call: Call, accept: str) -> dict[str, str]:
    """What every call carries: JSON goes out, `accept` comes back, the key, and last the endpoint's own headers.

    These may replace any but those that say what is sent and by whom: `content-*`, `host` and `webhook-*`.
    """
    basic = {"content-type": "application/json", "accept": accept}
    if call.api_key:
        basic["authorization"] = f"Bearer {call.api_key}"
    custom = {name.lower(): value for name, value in call.custom_headers.items()}
    return basic | {name: value for name, value in custom.items() if not _is_ours(name)}


def signature(call: Call, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. `webhook-id` is the call's id: an agent may drop one that it has seen."""
    call_id, timestamp = str(call.call_id), int(call.now.timestamp())
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.sign(call.secrets, call_id, timestamp, body),
    }


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith("webhook-")
