"""The search for words in messages: without an index of words, which every append would pay for. It is a scan of a bounded
part of the log, newest first, by the index that pages are read by; see `runtime.search` for how it goes on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from conversations.append import Message
from conversations.connection import Runner, Statement
from conversations.errors import InvalidRequest
from conversations.store import MESSAGE_COLUMNS, columns, message_from_row

WORDS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Everything before this seq of this conversation, and all older conversations: what is left of a search."""

    conversation_id: int
    before: int


@dataclass(frozen=True, slots=True)
class Range:
    """The messages of one conversation with `after < seq < before`."""

    conversation_id: int
    after: int
    before: int

    @property
    def messages(self) -> int:
        """How many there are; seqs have no holes."""
        return self.before - self.after - 1

    @property
    def cost(self) -> int:
        """What is paid for it, in messages: one at least, since its conversation is looked up."""
        return max(self.messages, 1)

    @property
    def is_whole(self) -> bool:
        """Whether it goes back to the first message."""
        return self.after == 0

    @property
    def rest(self) -> Place:
        """What is left once this has been looked at."""
        return Place(self.conversation_id, self.after + 1)


def patterns(text: str) -> list[str]:
    """A LIKE pattern for each word of `text`: wherever it occurs, also inside of other words. Raises `InvalidRequest`."""
    words = text.split()
    if not 1 <= len(words) <= WORDS_MAX:
        raise InvalidRequest(f"q holds 1 to {WORDS_MAX} words.", field="q")
    return [f"%{_literally(word)}%" for word in words]


def _literally(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def ranges(heads: Iterable[tuple[int, int]], place: Place | None, most: int) -> Iterator[Range]:
    """What to look at first, newest first: of conversations (id, last seq) as much as costs `most`."""
    for conversation_id, last_seq in heads:
        before = last_seq + 1
        if place is not None and conversation_id == place.conversation_id:
            before = min(before, place.before)
        one = Range(conversation_id, max(before - 1 - most, 0), before)
        yield one
        most -= one.cost
        if most <= 0:
            return


def examined(looked_at: Sequence[Range], last: Message | None) -> int:
    """How many messages are in these ranges, or come before `last` in them, itself included."""
    if last is None:
        return sum(one.messages for one in looked_at)
    at = [one.conversation_id for one in looked_at].index(last.conversation_id)
    return sum(one.messages for one in looked_at[:at]) + looked_at[at].before - last.seq


# By the index (participant, conversation): as many entries as are asked for, whatever the participant has.
SELECT_OF_PARTICIPANT = Statement("""
SELECT c.id, c.last_seq
FROM (SELECT conversation_id FROM conversations_membership
      WHERE participant_id = $1 AND conversation_id <= $2 ORDER BY conversation_id DESC LIMIT $3) m
JOIN conversations_conversation c ON c.id = m.conversation_id
ORDER BY c.id DESC
""")

# For tokens that are narrowed: one probe of the unique key and one of the membership's unique pair for each key.
SELECT_NARROWED = Statement("""
SELECT c.id, c.last_seq FROM conversations_conversation c
WHERE c.key = ANY($1::text[]) AND c.id <= $2 AND EXISTS (
  SELECT FROM conversations_membership m WHERE m.conversation_id = c.id AND m.participant_id = $3)
ORDER BY c.id DESC LIMIT $4
""")

# For each range a scan of the unique index (conversation_id, seq), backwards; LATERAL with LIMIT keeps each from bringing more
# than is wanted in all. Only what matches is sorted. A blanked message has no text, and so no word.
SELECT_MATCHING = Statement(f"""
SELECT {MESSAGE_COLUMNS}
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS asked (conversation_id, after, before)
CROSS JOIN LATERAL (
  SELECT * FROM conversations_message m
  WHERE m.conversation_id = asked.conversation_id AND m.seq > asked.after AND m.seq < asked.before
    AND m.kind <> 'redaction'
    AND lower(m.text) LIKE ALL ((SELECT array_agg(lower(one)) FROM unnest($4::text[]) AS one)::text[])
  ORDER BY m.seq DESC LIMIT $5
) m
CROSS JOIN LATERAL (SELECT key FROM conversations_conversation WHERE id = m.conversation_id LIMIT 1) c
ORDER BY m.conversation_id DESC, m.seq DESC LIMIT $5
""")  # noqa: S608  # only constants are put into it

SET_TIMEOUT = Statement("SELECT set_config('statement_timeout', $1, true)")


async def conversations_of(
    runner: Runner, participant_id: str, keys: Iterable[str] | None, up_to_id: int, limit: int
) -> list[tuple[int, int]]:
    """The newest conversations of a participant up to this id, of these keys if any are given: (id, last seq) each."""
    if keys is None:
        call = SELECT_OF_PARTICIPANT(participant_id, up_to_id, limit)
    else:
        call = SELECT_NARROWED(sorted(keys), up_to_id, participant_id, limit)
    (found,) = await runner.run(call)
    return [(row[0], row[1]) for row in found.rows]


async def matching(
    runner: Runner, looked_at: Sequence[Range], words: Sequence[str], limit: int
) -> list[Message]:
    """The newest `limit` messages of these ranges that match every pattern, in the order of the ranges."""
    places = columns([(one.conversation_id, one.after, one.before) for one in looked_at])
    (found,) = await runner.run(SELECT_MATCHING(*places, list(words), limit))
    return [message_from_row(row) for row in found.rows]
