"""The Phoenix Channels protocol: frames in, frames out. Pure.

Serializer V2 (`vsn=2.0.0`) writes `[join_ref, ref, topic, event, payload]`, V1 (`vsn=1.0.0`) an object with those names.
Source: https://hexdocs.pm/phoenix/writing_a_channels_client.html
"""

from typing import Any, Final, Literal

import msgspec
import orjson

from conversations.errors import FleetLMError, InvalidRequest

Version = Literal["1.0.0", "2.0.0"]
VERSIONS: Final[tuple[Version, ...]] = ("1.0.0", "2.0.0")


class InvalidFrame(FleetLMError):
    """Something came that is no frame of the protocol."""

    code = "invalid_frame"
    message = "Send text frames of the Phoenix Channels protocol: [join_ref, ref, topic, event, payload]."


class Frame(msgspec.Struct, frozen=True):
    """One message of a client."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]


def version_of(vsn: str | None) -> Version:
    """The serializer that a `vsn` parameter asks for; V1 without one. Raises `InvalidRequest`."""
    for version in VERSIONS:
        if (vsn or "1.0.0") == version:
            return version
    raise InvalidRequest("vsn must be 2.0.0 or 1.0.0.", field="vsn")


def decode(text: str, version: Version) -> Frame:
    """Read a frame. Raises `InvalidFrame`."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidFrame("The frame is not valid JSON.") from None
    if version == "2.0.0":
        if not isinstance(raw, list) or len(raw) != 5:
            raise InvalidFrame
        join_ref, ref, topic, event, payload = raw
    else:
        if not isinstance(raw, dict):
            raise InvalidFrame("With vsn=1.0.0 a frame is an object with topic, event, payload and ref.")
        join_ref, ref, topic, event, payload = (
            raw.get(name) for name in ("join_ref", "ref", "topic", "event", "payload")
        )
    if not isinstance(topic, str) or not isinstance(event, str):
        raise InvalidFrame("topic and event must be strings.")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise InvalidFrame("The payload must be an object.")
    return Frame(_reference(join_ref), _reference(ref), topic, event, payload)


def _reference(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= 64):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:64]
    raise InvalidFrame("join_ref and ref must be short strings, or null.")


def encode(
    version: Version, join_ref: str | None, ref: str | None, topic: str, event: str, payload: bytes
) -> bytes:
    """Write a frame around an encoded payload."""
    if version == "2.0.0":
        return orjson.dumps([join_ref, ref, topic, event])[:-1] + b"," + payload + b"]"
    names = orjson.dumps({"join_ref": join_ref, "ref": ref, "topic": topic, "event": event})
    return names[:-1] + b',"payload":' + payload + b"}"


def reply(version: Version, frame: Frame, status: Literal["ok", "error"], response: bytes) -> bytes:
    """Write the answer to a frame."""
    payload = b'{"status":"' + status.encode() + b'","response":' + response + b"}"
    return encode(version, frame.join_ref, frame.ref, frame.topic, "phx_reply", payload)
