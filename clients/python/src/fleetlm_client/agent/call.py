"""What an agent is asked: one call of FleetLM, typed. The field names are those of the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

NOT_SAID = ("system", "redaction")
"""Kinds of messages that nobody has said: not to be answered."""


class CallInvalid(ValueError):
    """The body is not a call of FleetLM."""


@dataclass(frozen=True)
class Participant:
    """One who takes part in the conversation; `kind` is `user`, `agent` or `system`."""

    id: str
    kind: str = "user"
    display_name: str = ""


@dataclass(frozen=True)
class Message:
    """One message of the context. `reply_to` is a seq, `created_at` ISO 8601 in UTC."""

    seq: int
    sender_id: str
    id: str = ""
    kind: str = "text"
    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reply_to: int | None = None
    created_at: str = ""


@dataclass(frozen=True)
class Call:
    """One call: the conversation, and what of it is new to this agent."""

    agent_id: str
    conversation: tuple[Message, ...]
    """The context, oldest first; the agent's own messages are in it."""
    new_from_seq: int
    """The first message that the agent has not been given before."""
    id: str = ""
    """Names this call; a retry has the same one. It is the header `webhook-id`."""
    run_id: str = ""
    """Names this attempt; new at every retry."""
    type: str = "message.created"
    timestamp: str = ""
    key: str = ""
    dm_key: str | None = None
    epoch: str = ""
    participants: tuple[Participant, ...] = ()
    reply_url: str = ""
    """Where to post later, with an API key."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The body as it came."""

    @property
    def new_messages(self) -> list[Message]:
        """What others have said that the agent has not been given before, oldest first. Answer all of it."""
        return [
            message
            for message in self.conversation
            if message.seq >= self.new_from_seq
            and message.sender_id != self.agent_id
            and message.kind not in NOT_SAID
        ]

    @property
    def text(self) -> str:
        """The texts of the new messages, a line each."""
        return "\n".join(message.text for message in self.new_messages)

    @classmethod
    def from_json(cls, body: Any) -> "Call":
        """A call out of its parsed body; only `agent_id` and `conversation` must be there. Raises `CallInvalid`."""
        try:
            conversation = tuple(_known(Message, message) for message in body["conversation"])
            rest = {
                "conversation": conversation,
                "participants": tuple(_known(Participant, one) for one in body.get("participants", ())),
                "new_from_seq": body.get("new_from_seq", conversation[-1].seq if conversation else 1),
                "raw": body,
            }
            call: Call = _known(cls, {**body, **rest})
        except (AttributeError, KeyError, TypeError) as error:
            raise CallInvalid(f"This is not a call of FleetLM: {error!r}") from None
        return call


def _known(cls: Any, values: Mapping[str, Any]) -> Any:
    """An instance of the fields that this version knows, so that new ones break nothing."""
    return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})
