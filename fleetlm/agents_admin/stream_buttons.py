"""What an operator does to one delivery stream, or to several that were selected."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django import forms

from agents import operations
from agents.models import DeliveryStream, Endpoint
from conversations.errors import FleetLMError, InvalidRequest
from conversations.models import Message
from conversations.rules import counts_as_unread
from fleetlm.agents_admin.buttons import Button, Outcome

SEQ_MAX: Final = 2**63 - 1

LOOKED_BACK: Final = 100
"""Messages among which the newest of someone else is looked for."""


def _seq(label: str) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, max_value=SEQ_MAX)


class RewindForm(forms.Form):
    """Where to begin again."""

    from_seq = _seq("from message")


class RangeForm(forms.Form):
    """What to deliver once more."""

    from_seq = _seq("messages")
    to_seq = _seq("to")


class SkipForm(forms.Form):
    """What to give up."""

    seq = _seq("up to message")


def resume(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Take it up again."""
    if not operations.resume(_only(stream)):
        raise InvalidRequest("It is not parked any more.")
    return Outcome("Resumed.")


def pause(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Park it."""
    if not operations.park(_only(stream)):
        raise InvalidRequest("It is parked already.")
    return Outcome("Paused. No more calls are made until it is resumed.")


def retry_now(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Make the waiting call at once."""
    if not operations.retry_now(_only(stream)):
        raise InvalidRequest("No call of it is waiting.")
    return Outcome("The waiting call is made now.")


def skip_pending(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Give up the pending call."""
    before = stream.cursor
    moved = operations.skip(stream)
    if moved.cursor == before:
        return Outcome("Gave up the replay.")
    return _moved(
        moved, f"Skipped the pending call: messages {before + 1} to {moved.cursor} are not delivered."
    )


def replay_newest(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Deliver the newest message that it has got once more."""
    newest = _newest_delivered(stream)
    moved = operations.redeliver(stream, newest, max(newest, stream.cursor))
    return _moved(moved, f"Message {newest} is delivered again.")


def rewind(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Go back."""
    moved = operations.rewind(stream, given["from_seq"])
    return _moved(moved, f"Everything from message {given['from_seq']} on is delivered again.")


def redeliver(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Deliver a range once more."""
    moved = operations.redeliver(stream, given["from_seq"], given["to_seq"])
    return _moved(moved, f"Messages {given['from_seq']} to {given['to_seq']} are delivered again.")


def skip_to(stream: DeliveryStream, given: Mapping[str, Any]) -> Outcome:
    """Go forward."""
    moved = operations.skip(stream, given["seq"])
    return _moved(
        moved, f"Skipped up to message {given['seq']}: what was not delivered up to there never is."
    )


def _moved(stream: DeliveryStream, said: str) -> Outcome:
    paused = stream.parked_at is not None
    return Outcome(f"{said} It is paused: nothing is delivered until it is resumed." if paused else said)


def _newest_delivered(stream: DeliveryStream) -> int:
    """For an agent the newest that someone else has said: its own words are nothing to call it for."""
    if stream.agent_id is None and stream.cursor:
        return stream.cursor
    said = Message.objects.filter(conversation_id=stream.conversation_id, seq__lte=stream.cursor).order_by(
        "-seq"
    )
    for seq, sender_id, kind in said.values_list("seq", "sender_id", "kind")[:LOOKED_BACK]:
        if sender_id != stream.agent_id and counts_as_unread(kind):
            return seq
    raise InvalidRequest("Nothing has been delivered yet.")


def _has_log(stream: DeliveryStream) -> bool:
    """Whether there is something to go back to: `inbox.updated` tells of the newest state alone."""
    return stream.endpoint.event != Endpoint.Event.INBOX_UPDATED


def _only(stream: DeliveryStream) -> Any:
    return DeliveryStream.objects.filter(id=stream.id)


def for_each(
    streams: list[DeliveryStream], act: Callable[[DeliveryStream, Mapping[str, Any]], Outcome]
) -> tuple[list[DeliveryStream], list[str]]:
    """Do it to one after the other, each in its own transaction; returns those it was done to, and why not to the rest."""
    done, refused = [], []
    for stream in streams:
        try:
            act(stream, {})
        except FleetLMError as error:
            refused.append(str(error))
        else:
            done.append(stream)
    return done, refused


_AGAIN: Final = "An agent's answers are appended again, as new messages."

BUTTONS: Final = (
    Button(name="resume", label="Resume", act=resume, useful=lambda stream: stream.parked_at is not None),
    Button(name="pause", label="Pause", act=pause, useful=lambda stream: stream.parked_at is None),
    Button(
        name="retry-now",
        label="Retry now",
        act=retry_now,
        useful=lambda stream: stream.due_at is not None and stream.lease_id is None,
    ),
    Button(
        name="skip",
        label="Skip pending call",
        act=skip_pending,
        question="The messages of the pending call are given up: they are never delivered here.",
        useful=lambda stream: stream.call_seq is not None or stream.replay_to is not None,
        harmful=True,
    ),
    Button(
        name="replay",
        label="Replay newest",
        act=replay_newest,
        question=f"The newest message that was delivered is delivered once more. {_AGAIN}",
        useful=lambda stream: _has_log(stream) and stream.cursor > 0,
    ),
    Button(
        name="rewind",
        label="Rewind",
        act=rewind,
        form=RewindForm,
        question=f"Everything from this message on is delivered again, as new calls. {_AGAIN}",
        useful=lambda stream: _has_log(stream),
    ),
    Button(
        name="redeliver",
        label="Deliver again",
        act=redeliver,
        form=RangeForm,
        question=f"These messages are delivered once more; then it goes on where it was. {_AGAIN}",
        useful=lambda stream: _has_log(stream),
    ),
    Button(
        name="skip-to",
        label="Skip",
        act=skip_to,
        form=SkipForm,
        question="What has not been delivered up to and including this message never is.",
        useful=lambda stream: max(stream.wanted_seq, stream.call_seq or 0) > stream.cursor,
        harmful=True,
    ),
)
