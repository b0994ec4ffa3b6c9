"""Calls as an agent gets them: the body that FleetLM writes, signed by the reference library of Standard Webhooks."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

AGENT = "shipping-bot"
ALICE = "alice"


def said(seq: int, sender_id: str, text: str, kind: str = "text") -> dict[str, Any]:
    """One message of a call's conversation."""
    return {
        "id": str(uuid.uuid4()),
        "seq": seq,
        "sender_id": sender_id,
        "kind": kind,
        "text": text,
        "content": {},
        "metadata": {},
        "reply_to": None,
        "created_at": f"2026-01-05T12:00:{seq:02}.000000Z",
    }


def call(*conversation: dict[str, Any], new_from_seq: int | None = None, call_id: str = "") -> dict[str, Any]:
    """The body of a call; without `new_from_seq` only the last message is new."""
    key = f"{ALICE}:{AGENT}"
    return {
        "type": "message.created",
        "id": call_id or str(uuid.uuid4()),
        "timestamp": conversation[-1]["created_at"],
        "agent_id": AGENT,
        "dm_key": key,
        "key": key,
        "epoch": str(uuid.uuid4()),
        "conversation": conversation,
        "new_from_seq": new_from_seq or conversation[-1]["seq"],
        "participants": [
            {"id": ALICE, "kind": "user", "display_name": "Alice"},
            {"id": AGENT, "kind": "agent", "display_name": ""},
        ],
        "reply_url": f"http://127.0.0.1:4000/api/conversations/{key}/messages",
        "run_id": str(uuid.uuid4()),
    }


def signed(
    body: dict[str, Any], *secrets: str, age: timedelta = timedelta(0)
) -> tuple[bytes, dict[str, str]]:
    """A call's bytes and headers, sent `age` ago; several secrets as while one is being rotated."""
    data = json.dumps(body)
    sent = datetime.now(UTC) - age
    return data.encode(), {
        "content-type": "application/json",
        "webhook-id": body["id"],
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(body["id"], sent, data) for secret in secrets),
    }
