"""The body of a send, the same over REST and sockets, and what it takes to become an append."""

import re
from typing import Annotated, Any

import msgspec
from django.conf import settings
from msgspec import Meta

from conversations import rules
from conversations.append import AppendRequest
from conversations.errors import InvalidRequest, TooLarge
from fleetlm.auth.principal import Principal

_CLIENT_ID = re.compile(r"[A-Za-z0-9._@:-]{1,128}")
MAX_SEQ = 2**63 - 1

Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]

# For the schema alone: `append_request` checks them, and says it better.
SenderId = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9._@-]{1,128}$"})]
ClientId = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9._@:-]{1,128}$"})]
Kind = Annotated[str, Meta(extra_json_schema={"pattern": "^[a-z][a-z0-9_.-]{0,63}$"})]


class SendBody(msgspec.Struct, forbid_unknown_fields=True):
    """A message to append."""

    text: str = ""
    sender_id: SenderId | None = None
    kind: Kind = "text"
    content: dict[str, Any] = msgspec.field(default_factory=dict)
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    client_id: ClientId | None = None
    reply_to: Annotated[int, Meta(ge=1, le=MAX_SEQ)] | None = None
    expected_seq: Seq | None = None


def append_request(body: SendBody, principal: Principal, key: str) -> AppendRequest:
    """A checked append to the conversation with this canonical key. Raises `InvalidRequest`, `TooLarge`, `NotAllowed`."""
    principal.require("write")
    config = settings.FLEETLM
    limits = rules.Limits(config.text_bytes, config.content_bytes, config.json_depth)
    rules.check_text(body.text, limits)
    size = len(body.text) + _check_objects(body, limits)
    if not body.text and not body.content and body.kind != "redaction":
        raise InvalidRequest("A message needs a text or a content.", field="text")
    if body.client_id is not None and not _CLIENT_ID.fullmatch(body.client_id):
        raise InvalidRequest(
            "client_id must be 1 to 128 of the characters A-Z a-z 0-9 . _ @ : -", field="client_id"
        )
    return AppendRequest(
        key=key,
        sender_id=principal.speak_as(body.sender_id),
        text=body.text,
        kind=rules.check_kind(body.kind),
        content=body.content,
        metadata=body.metadata,
        client_id=body.client_id,
        reply_to=body.reply_to,
        expected_seq=body.expected_seq,
        privileged=principal.is_server,
        size=size,
    )


def _check_objects(body: SendBody, limits: rules.Limits) -> int:
    """The size of both in bytes, if they may be stored."""
    size = 0
    for name, value in (("content", body.content), ("metadata", body.metadata)):
        if value:
            rules.check_json(value, name, limits.depth)
            size += len(msgspec.json.encode(value))
    if size > limits.content_bytes:
        raise TooLarge(
            f"content and metadata together are over {limits.content_bytes} bytes.",
            field="content",
            limit=limits.content_bytes,
        )
    return size
