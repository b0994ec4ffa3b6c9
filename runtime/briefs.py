"""What a claimed stream's call carries, read for all of a claim at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import queries, rules
from agents.calls import ClaimedStream
from agents.models import Endpoint
from conversations.connection import Connection
from inbox import queries as inbox_queries

INBOX_ENTRIES_MAX = 1_000
"""The most entries that one `inbox.updated` carries."""


@dataclass(frozen=True, slots=True)
class Brief:
    """Of one call: the messages (an agent's context, or what is new for a subscription), who takes part, and so on."""

    messages: Sequence[rules.ContextMessage] = ()
    participants: Sequence[Mapping[str, str]] = ()
    agents_in_a_row: int = 0
    """How many messages agents have sent since a person spoke; 0 if a person has just spoken."""
    person_spoke_at: int = 0
    """The seq of that person's message."""
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def load(connection: Connection, streams: Sequence[ClaimedStream]) -> dict[int, Brief]:
    """The brief of each stream, by its id."""
    inboxes = [s for s in streams if s.event == Endpoint.Event.INBOX_UPDATED]
    called = [s for s in streams if not s.event]
    messages = await queries.contexts(
        connection, [s for s in streams if s.event != Endpoint.Event.INBOX_UPDATED]
    )
    members = await queries.participants(connection, [s.conversation_id for s in called])
    agents_alone = [
        s
        for s in called
        if rules.only_agents_spoke(messages[s.id], s.cursor, members.get(s.conversation_id, ()))
    ]
    streaks = await queries.streaks(connection, agents_alone)
    entries = await _entries(connection, inboxes)
    return {
        stream.id: Brief(
            messages.get(stream.id, ()),
            members.get(stream.conversation_id, ()),
            streaks.get(stream.id, (0, 0))[1],
            streaks.get(stream.id, (0, 0))[0],
            entries.get(stream.id, {}),
        )
        for stream in streams
    }


async def _entries(
    connection: Connection, streams: Sequence[ClaimedStream]
) -> dict[int, Mapping[str, Mapping[str, Any]]]:
    if not streams:
        return {}
    found: dict[int, Mapping[str, Mapping[str, Any]]] = {}
    named = [(s.participant_id, s.conversation_id) for s in streams if s.participant_id]
    if named:
        pairs = await inbox_queries.entries(connection, named)
        found |= {
            s.id: {s.participant_id: pairs[s.participant_id, s.conversation_id]}
            for s in streams
            if (s.participant_id, s.conversation_id) in pairs
        }
    whole = [s for s in streams if not s.participant_id]
    if whole:
        conversations = await inbox_queries.entries_of(
            connection, [s.conversation_id for s in whole], INBOX_ENTRIES_MAX
        )
        found |= {s.id: conversations[s.conversation_id] for s in whole}
    return found
