"""Calls, heads and streams for the tests of dialects."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from agents.dialects import Call, Reader
from agents.door import Head
from agents.rules import ContextMessage
from conversations.rules import Limits

LIMITS = Limits(text_bytes=1_000, content_bytes=4_000, depth=12)
SECRET = "whsec_" + "A" * 43 + "="
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def message(
    seq: int,
    sender_id: str = "alice",
    text: str | None = None,
    kind: str = "text",
    content: Any = None,
) -> ContextMessage:
    return ContextMessage(
        id=f"message-{seq}",
        seq=seq,
        sender_id=sender_id,
        kind=kind,
        text=f"words {seq}" if text is None else text,
        content=orjson.dumps(content or {}).decode(),
        metadata="{}",
        reply_to=None,
        created_at=NOW,
    )


def call(*messages: ContextMessage, members: Iterable[str] = ("alice", "bot"), **changed: Any) -> Call:
    given: dict[str, Any] = {
        "call_id": UUID(int=1),
        "run_id": UUID(int=2),
        "agent_id": "bot",
        "key": "alice:bot",
        "is_dm": True,
        "epoch": UUID(int=3),
        "messages": messages or (message(1),),
        "new_from_seq": 1,
        "participants": [{"id": name, "kind": "user", "display_name": ""} for name in members],
        "reply_url": "http://fleetlm/api/conversations/alice:bot/messages",
        "secrets": [SECRET],
        "now": NOW,
        "url": "http://agent/run",
    }
    return Call(**given | changed)


def head(content_type: str = "text/event-stream", status: int = 200, **headers: str) -> Head:
    return Head(
        status, {"content-type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def sse(*events: Any) -> bytes:
    """Events as an agent would send them: text as it is, everything else as JSON."""
    texts = (event if isinstance(event, str) else orjson.dumps(event).decode() for event in events)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def read(reader: Reader, *pieces: bytes) -> list[dict[str, Any]]:
    """Everything that the reader relays of a whole body."""
    relayed = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return relayed + reader.end()
