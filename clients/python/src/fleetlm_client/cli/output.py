"""What the command writes: JSON lines for programs, readable lines for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import IO, Any

from fleetlm_client.cli.plain_text import as_lines, on_one_line, shortened

Record = Mapping[str, Any]
"""A message, an inbox entry or any other JSON object of the server."""


class Output:
    """Where results go, one record a line, written through at once."""

    def __init__(self, stream: IO[str], *, as_json: bool) -> None:
        self._stream = stream
        self.as_json = as_json

    def show(self, record: Record, readable: Callable[[Record], str]) -> None:
        """Write a record: as JSON, or as `readable` says it for people."""
        if self.as_json:
            self.as_record(record)
        else:
            self._write(readable(record))

    def as_record(self, record: Record) -> None:
        """Write a record as JSON, whoever reads it."""
        self._write(json.dumps(record, ensure_ascii=False))

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def time_of(record: Record) -> datetime:
    """When it was made, in the time zone of whoever looks."""
    moment = str(record["created_at"]).replace("Z", "+00:00")
    return datetime.fromisoformat(moment).astimezone()


def said(message: Record) -> str:
    """What a message says: its text, or what it is instead of one."""
    if message["kind"] == "redaction":
        return f"(message {message['reply_to']} was redacted)"
    return message["text"] or _without_text(message)


def _without_text(message: Record) -> str:
    if not message["content"] and message["kind"] == "text":
        return "(redacted)"
    return f"({message['kind']}) {json.dumps(message['content'], ensure_ascii=False)}"


def message_line(message: Record) -> str:
    """Time, seq, sender and text; further lines of the text are set in."""
    first, *others = as_lines(said(message))
    head = f"{time_of(message):%H:%M} {message['seq']:>4}  {on_one_line(message['sender_id'])}: "
    return "\n".join([head + first, *("            " + line for line in others)])


def found_line(message: Record) -> str:
    """The same with the day and the conversation."""
    return f"{time_of(message):%Y-%m-%d} {message['conversation']}  {message_line(message)}"


def entry_line(entry: Record) -> str:
    """Unread count, key and the newest message."""
    last = entry["last_message"]
    preview = f"{last['sender_id']}: {last['text']}" if last else ""
    unread = f"{entry['unread_count']:>4}" if entry["unread_count"] else "   ·"
    mentioned = "@" if entry["mention_count"] else " "
    return f"{unread}{mentioned} {entry['key']:<32} {shortened(on_one_line(preview), 80)}".rstrip()


def fields(record: Record) -> str:
    """Every field on a line of its own; objects and lists as JSON."""
    width = max((len(name) for name in record), default=0)
    return "\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in record.items())


def columns(*names: str) -> Callable[[Record], str]:
    """Some fields side by side; for lists."""

    def line(record: Record) -> str:
        return "  ".join(f"{_shown(record.get(name)):<20}" for name in names).rstrip()

    return line


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return on_one_line(value)
    return on_one_line(json.dumps(value, ensure_ascii=False))
