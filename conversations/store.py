"""Writes of conversations. The append's SQL is here, statement by statement; the cold writes use the ORM.

Whoever runs the append's calls holds a transaction; whoever changes members or state locks the conversation's row first,
so that an append sees either all of a change or nothing of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from conversations import rules
from conversations.append import AppendRequest, DuplicateKey, Head, Members, Message
from conversations.connection import Call, Runner, Statement
from conversations.errors import Conflict, ConversationNotFound, InvalidRequest, ParticipantNotFound
from conversations.models import Conversation, Membership, Participant

# Index scan on the unique key, a sort of at most one batch, then the row locks in id order: two batches that share
# conversations wait for each other, and never in a circle. NO KEY: inserts elsewhere that refer to the row go on.
LOCK_HEADS = Statement("""
SELECT id, key, epoch, kind, state, last_seq, countable, version, last_message
FROM conversations_conversation WHERE key = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
""")

SELECT_MEMBERS = Statement("""
SELECT conversation_id, participant_id, role FROM conversations_membership WHERE conversation_id = ANY($1::bigint[])
""")

MESSAGE_COLUMNS = """m.id, m.seq, m.conversation_id, c.key, m.countable, m.sender_id, m.kind, m.text, m.content, m.metadata,
m.reply_to, m.mentions, m.client_id, m.created_at"""

# One probe of the partial unique index (conversation, sender, client_id) for each request with a client_id. LATERAL with LIMIT
# leaves the planner no other way: a plain join that was planned while the table was young reads whole conversations.
SELECT_DUPLICATES = Statement(f"""
SELECT {MESSAGE_COLUMNS}
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (key, sender_id, client_id)
JOIN conversations_conversation c ON c.key = asked.key
CROSS JOIN LATERAL (
  SELECT * FROM conversations_message m
  WHERE m.conversation_id = c.id AND m.sender_id = asked.sender_id AND m.client_id = asked.client_id LIMIT 1
) m
""")

SELECT_SENDERS = Statement("""
SELECT c.key, m.seq, m.sender_id
FROM unnest($1::text[], $2::bigint[]) AS asked (key, seq)
JOIN conversations_conversation c ON c.key = asked.key
JOIN conversations_message m ON m.conversation_id = c.id AND m.seq = asked.seq
""")

INSERT_MESSAGES = Statement("""
INSERT INTO conversations_message (id, conversation_id, seq, countable, sender_id, kind, text, content, metadata, reply_to,
                                   mentions, client_id, created_at)
SELECT id, conversation_id, seq, countable, sender_id, kind, text, content::jsonb, metadata::jsonb, reply_to,
       mentions::jsonb, client_id, created_at
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::bigint[], $11::text[], $12::text[], $13::timestamptz[])
  AS new (id, conversation_id, seq, countable, sender_id, kind, text, content, metadata, reply_to, mentions, client_id,
          created_at)
""")

UPDATE_HEADS = Statement("""
UPDATE conversations_conversation c
SET last_seq = new.last_seq, countable = new.countable, last_message = new.last_message::jsonb, updated_at = now()
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS new (id, last_seq, countable, last_message)
WHERE c.id = new.id
""")

BLANK_REDACTED = Statement("""
UPDATE conversations_message m
SET text = '', content = '{}', metadata = '{"redacted": true}', mentions = '[]'
FROM unnest($1::bigint[], $2::bigint[]) AS target (conversation_id, seq)
WHERE m.conversation_id = target.conversation_id AND m.seq = target.seq
""")


def message_from_row(row: Sequence[Any]) -> Message:
    """A message from the columns of `MESSAGE_COLUMNS`."""
    return Message(
        id=row[0],
        seq=row[1],
        conversation_id=row[2],
        conversation=row[3],
        countable=row[4],
        sender_id=row[5],
        kind=row[6],
        text=row[7],
        content=row[8],
        metadata=row[9],
        reply_to=row[10],
        mentions=row[11],
        client_id=row[12],
        created_at=row[13],
    )


async def lock_and_look(
    runner: Runner, requests: Sequence[AppendRequest]
) -> tuple[dict[str, Head], dict[DuplicateKey, Message], dict[tuple[str, int], str]]:
    """Lock the conversations of these requests, in id order, and look in the same round trip for what is stored already.

    Returns the counters by key, the stored messages that the requests may be retries of, and the senders of those that they
    would redact. Postgres runs the calls one after the other: the later ones see what the first waited for.
    """
    retries = [(r.key, r.sender_id, r.client_id) for r in requests if r.client_id is not None]
    targets = [(r.key, r.reply_to) for r in requests if r.kind == "redaction" and r.reply_to is not None]
    calls = [LOCK_HEADS(list({request.key for request in requests}))]
    calls += [SELECT_DUPLICATES(*columns(retries))] if retries else []
    calls += [SELECT_SENDERS(*columns(targets))] if targets else []
    locked, *looked = await runner.run(*calls)
    stored = [message_from_row(row) for row in looked[0].rows] if retries else []
    return (
        {row[1]: Head(*row) for row in locked.rows},
        {(m.conversation, m.sender_id, m.client_id): m for m in stored if m.client_id is not None},
        {(row[0], row[1]): row[2] for row in looked[-1].rows} if targets else {},
    )


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows, at least one, as one list for each column: what `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)]


async def select_members(runner: Runner, conversation_ids: Sequence[int]) -> dict[int, Members]:
    """The members of these conversations: conversation id → participant id → role."""
    members: dict[int, dict[str, str]] = {conversation_id: {} for conversation_id in conversation_ids}
    (found,) = await runner.run(SELECT_MEMBERS(list(conversation_ids)))
    for conversation_id, participant_id, role in found.rows:
        members[conversation_id][participant_id] = role
    return dict(members)


def insert_messages(messages: Sequence[Message]) -> list[Call]:
    """Store messages with one multi-row statement, and blank what they redact."""
    rows = [
        (
            m.id,
            m.conversation_id,
            m.seq,
            m.countable,
            m.sender_id,
            m.kind,
            m.text,
            _json(m.content),
            _json(m.metadata),
            m.reply_to,
            _json(m.mentions),
            m.client_id,
            m.created_at,
        )
        for m in messages
    ]
    calls = [INSERT_MESSAGES(*columns(rows))]
    targets = [(m.conversation_id, m.reply_to) for m in messages if m.kind == "redaction"]
    if targets:
        calls.append(BLANK_REDACTED(*columns(targets)))
    return calls


def update_heads(heads: Sequence[Head]) -> Call:
    """Write back the counters that a plan has moved."""
    rows = [(h.id, h.last_seq, h.countable, _json(h.last_message) if h.last_message else None) for h in heads]
    return UPDATE_HEADS(*columns(rows))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode() if value else ("[]" if isinstance(value, list) else "{}")


def ensure_participants(participant_ids: Iterable[str]) -> None:
    """Make unknown participants as users; leave known ones as they are."""
    Participant.objects.bulk_create(
        [Participant(id=rules.check_id(one, "participant_id")) for one in sorted(set(participant_ids))],
        ignore_conflicts=True,
    )


def create_conversation(
    key: str,
    kind: str,
    *,
    title: str = "",
    metadata: dict[str, Any] | None = None,
) -> Conversation:
    """A new conversation without members; raises `Conflict` if the key is taken. Call it in a transaction."""
    try:
        with transaction.atomic():
            return Conversation.objects.create(key=key, kind=kind, title=title, metadata=metadata or {})
    except IntegrityError as error:
        raise Conflict("There is a conversation with this key already.", key=key) from error


def lock_conversation(key: str) -> Conversation:
    """The conversation with this canonical key, locked until the transaction ends."""
    conversation = Conversation.objects.select_for_update(no_key=True).filter(key=key).first()
    if conversation is None:
        raise ConversationNotFound(key=key)
    return conversation


def add_members(conversation: Conversation, roles: dict[str, str], *, limit: int) -> list[str]:
    """Add members (participant id → role) to a locked conversation; returns those that are new.

    The participants' rows are locked against a simultaneous change of what they are. Raises `ParticipantNotFound`.
    """
    # NO KEY UPDATE is what registering an agent takes too: one of the two sees what the other has done.
    known = set(
        Participant.objects.select_for_update(no_key=True)
        .filter(id__in=roles)
        .order_by("id")
        .values_list("id", flat=True)
    )
    if missing := sorted(set(roles) - known):
        raise ParticipantNotFound(participant_ids=missing)
    present = set(conversation.memberships.values_list("participant_id", flat=True))
    new = [one for one in roles if one not in present]
    if len(present) + len(new) > limit:
        raise InvalidRequest(
            f"A conversation has at most {limit} members.", field="participants", limit=limit
        )
    if conversation.kind == Conversation.Kind.DM and len(present) + len(new) > 2:
        raise Conflict("A dm has exactly two participants; create a group instead.", key=conversation.key)
    Membership.objects.bulk_create(
        Membership(
            conversation=conversation,
            participant_id=one,
            role=roles[one],
            joined_seq=conversation.last_seq,
        )
        for one in new
    )
    if new:
        touch(conversation)
    return new


def change_member(
    conversation: Conversation, participant_id: str, *, role: str | None = None, muted: bool | None = None
) -> None:
    """Change a member's role or muting in a locked conversation; raises `ParticipantNotFound`."""
    changes: dict[str, Any] = {
        name: value for name, value in (("role", role), ("muted", muted)) if value is not None
    }
    members = conversation.memberships.filter(participant_id=participant_id)
    if not (members.update(**changes) if changes else members.exists()):
        raise ParticipantNotFound("This participant is not a member.", participant_id=participant_id)
    touch(conversation)


def remove_member(conversation: Conversation, participant_id: str) -> None:
    """Take a member out of a locked conversation; raises `ParticipantNotFound`. Nobody leaves a dm."""
    if conversation.kind == Conversation.Kind.DM:
        raise Conflict("Nobody leaves a dm; close or archive it instead.", key=conversation.key)
    deleted, _ = conversation.memberships.filter(participant_id=participant_id).delete()
    if not deleted:
        raise ParticipantNotFound("This participant is not a member.", participant_id=participant_id)
    touch(conversation)


def set_state(conversation: Conversation, state: str) -> None:
    """Open, close or archive a locked conversation."""
    touch(conversation, state=state)


def describe(
    conversation: Conversation, *, title: str | None = None, metadata: dict[str, Any] | None = None
) -> None:
    """Change a locked conversation's title and metadata; None leaves one as it is."""
    changes: dict[str, Any] = {
        name: value for name, value in (("title", title), ("metadata", metadata)) if value is not None
    }
    touch(conversation, **changes)


def touch(conversation: Conversation, **changes: Any) -> None:
    """Write changes to a locked conversation and raise its version, which every cache compares."""
    Conversation.objects.filter(pk=conversation.pk).update(
        version=F("version") + 1, updated_at=Now(), **changes
    )
    conversation.refresh_from_db()
