"""What the client writes: JSON lines for programs, readable lines for people."""

from collections.abc import Callable
from datetime import datetime
from typing import IO, Any

import orjson

from runtime.client.errors import ClientError

Show = Callable[[dict[str, Any]], None]
"""Writes one message or inbox entry."""


def as_json(output: IO[str]) -> Show:
    """One JSON object a line, written through at once."""

    def show(value: dict[str, Any]) -> None:
        output.write(orjson.dumps(value).decode() + "\n")
        output.flush()

    return show


def for_people(output: IO[str]) -> Show:
    """Time, sender and text, on one line; what could move a terminal's cursor is shown as a dot."""

    def show(message: dict[str, Any]) -> None:
        at = datetime.fromisoformat(message["created_at"]).astimezone().strftime("%H:%M")
        output.write(f"{at} {message['sender_id']}: {printable(_said(message))}\n")
        output.flush()

    return show


def printable(text: str) -> str:
    """The text on one line, without control characters."""
    return "".join(character if character.isprintable() else "·" for character in " ".join(text.split()))


def _said(message: dict[str, Any]) -> str:
    if message["kind"] == "redaction":
        return f"(redacted message {message['reply_to']})"
    return message["text"] or f"({message['kind']}) {orjson.dumps(message['content']).decode()}"


def notice_on(output: IO[str]) -> Callable[[ClientError], None]:
    """Writes errors, and losses that are being repaired, one JSON object a line."""
    show = as_json(output)
    return lambda error: show(error.as_dict())
