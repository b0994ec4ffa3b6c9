"""What of a transcript is shown, from top to bottom, as plain values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetlm_client.cli.output import said, time_of
from fleetlm_client.cli.plain_text import as_lines, on_one_line, shortened
from fleetlm_client.cli.terminal.transcript import Pending, Record, Transcript
from fleetlm_client.records import Run

TOGETHER = timedelta(minutes=5)
"""Messages of one sender are shown under one name for so long."""

QUOTE = 60

SENDERS = 5
"""How many colours the names of others have."""


@dataclass(frozen=True)
class Day:
    """A new day begins."""

    name: str


@dataclass(frozen=True)
class Marker:
    """What follows is unread, or a note on the conversation."""

    text: str
    role: str = "marker"


@dataclass(frozen=True)
class Said:
    """Something that was said, is being said, or is to be said."""

    id: str
    """Tells it from others that look the same."""
    name: str
    """Who says it; empty where the line above says so."""
    name_role: str
    time: str
    lines: tuple[str, ...]
    role: str = "text"
    quote: str = ""
    note: str = ""
    """What is to be known of it: that it is sent, failed, still being written."""
    note_role: str = "dim"


Item = Day | Marker | Said


def items_of(transcript: Transcript) -> list[Item]:
    """Everything, oldest first."""
    items: list[Item] = []
    if transcript.messages and not transcript.has_older:
        items.append(Marker("the beginning of the conversation", "dim"))
    before: Record | None = None
    by_seq = {one["seq"]: one for one in transcript.messages}
    for message in transcript.messages:
        if before is None or time_of(message).date() != time_of(before).date():
            items.append(Day(f"{time_of(message):%A}, {time_of(message).day} {time_of(message):%B %Y}"))
            before = None
        if message["seq"] == transcript.unread_from:
            items.append(Marker("new"))
            before = None
        items.append(_message(message, before, by_seq, transcript))
        before = message
    items += [
        _running(run, transcript) for run in transcript.runs.values() if run.text or run.status == "failed"
    ]
    items += [_pending(one, place, transcript) for place, one in enumerate(transcript.pending.values())]
    if transcript.closed:
        items.append(Marker(transcript.closed, "failed"))
    return items


def _message(
    message: Record, before: Record | None, by_seq: dict[int, Record], transcript: Transcript
) -> Item:
    if message["kind"] == "system":
        return Marker(on_one_line(said(message)), "dim")
    return Said(
        str(message["seq"]),
        "" if before is not None and _goes_on(before, message) else _name(message["sender_id"], transcript),
        _name_role(message["sender_id"], transcript),
        f"{time_of(message):%H:%M}",
        tuple(as_lines(said(message))),
        "text" if message["text"] and message["kind"] != "redaction" else "dim",
        quote=_quote(message, by_seq),
        note={"cancelled": "cancelled", "interrupted": "interrupted"}.get(
            message["content"].get("status", ""), ""
        ),
    )


def _goes_on(before: Record, message: Record) -> bool:
    return (
        before["kind"] != "system"
        and before["sender_id"] == message["sender_id"]
        and time_of(message) - time_of(before) < TOGETHER
        and message["reply_to"] is None
    )


def _quote(message: Record, by_seq: dict[int, Record]) -> str:
    if message["reply_to"] is None or message["kind"] == "redaction":
        return ""
    other = by_seq.get(message["reply_to"])
    if other is None:
        return f"to message {message['reply_to']}"
    return f"{other['sender_id']}: {shortened(on_one_line(said(other)), QUOTE)}"


def _running(run: Run, transcript: Transcript) -> Said:
    if run.status == "failed":
        return Said(
            run.run_id,
            _name(run.agent_id, transcript),
            _name_role(run.agent_id, transcript),
            "",
            (f"no answer: {on_one_line(run.error or 'the call failed')}",),
            "failed",
        )
    note = "esc stops it" if run.live else ""
    name, role = _name(run.agent_id, transcript), _name_role(run.agent_id, transcript)
    return Said(run.run_id, name, role, "", tuple(as_lines(run.text)), note=note)


def _pending(pending: Pending, place: int, transcript: Transcript) -> Said:
    refused = f"not sent: {on_one_line(pending.error)}  ctrl+r sends it again, ctrl+t takes it back"
    return Said(
        pending.client_id,
        "" if place else _name(transcript.me, transcript),
        "own",
        "",
        tuple(as_lines(pending.text)),
        "failed" if pending.error else "dim",
        note=refused if pending.error else "sending …",
        note_role="failed" if pending.error else "dim",
    )


def _name_role(participant_id: str, transcript: Transcript) -> str:
    """The colour of a name: by the place among the members, so that the first few differ."""
    if participant_id == transcript.me:
        return "own"
    others = [one for one in transcript.members if one != transcript.me]
    place = others.index(participant_id) if participant_id in others else len(participant_id)
    return f"sender{place % SENDERS}"


def _name(participant_id: str, transcript: Transcript) -> str:
    member = transcript.members.get(participant_id)
    sign = " (agent)" if member is not None and member.kind == "agent" else ""
    return _plain_name(participant_id, transcript) + sign


def _plain_name(participant_id: str, transcript: Transcript) -> str:
    member = transcript.members.get(participant_id)
    return on_one_line(member.display_name if member and member.display_name else participant_id)


def activity(transcript: Transcript) -> str:
    """Who types or thinks, in one line."""
    busy = {run.agent_id for run in transcript.running}
    writing = sorted((transcript.typing | busy) - {transcript.me})
    if not writing:
        return ""
    verb = "is" if len(writing) == 1 else "are"
    names = ", ".join(_plain_name(one, transcript) for one in writing[:3])
    return f"{names}{' and others' if len(writing) > 3 else ''} {verb} typing …"


def moment_of(value: datetime) -> str:
    """Today's times as times, others as dates."""
    return (
        f"{value:%H:%M}" if value.date() == datetime.now(value.tzinfo).date() else f"{value.day} {value:%b}"
    )
