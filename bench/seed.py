"""The rows that the measures start from, written by the models in bulk; and the credentials of those who take part."""

import time
from collections.abc import Iterable, Mapping, Sequence

import jwt
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from conversations import rules
from conversations.models import Conversation, Membership, Participant
from fleetlm.auth.keys import make_key

TOKEN_SECONDS = 3_600


def prepare() -> str:
    """Make the tables; returns an API key."""
    call_command("migrate", verbosity=0, interactive=False)
    return make_key("bench", ["read", "write"])[1]


def token(participant_id: str) -> str:
    """A participant's token, as the server itself mints them."""
    now = int(time.time())
    claims = {"sub": participant_id, "iat": now, "exp": now + TOKEN_SECONDS}
    return jwt.encode(claims, settings.FLEETLM.secret_key, algorithm="HS256")


def dms(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Two-member conversations; their keys in the order of the pairs."""
    members = {rules.dm_key(*pair): pair for pair in pairs}
    make(Conversation.Kind.DM, members)
    return list(members)


def groups(members: Mapping[str, Sequence[str]]) -> None:
    """Groups: key → members."""
    make(Conversation.Kind.GROUP, members)


# Raw, since there are many. The pairs are columns of keys and participants.
_PARTICIPANTS = """
INSERT INTO conversations_participant (id, kind, display_name, metadata, updated_at)
SELECT DISTINCT one, 'user', '', '{}'::jsonb, now() FROM unnest(%s::text[]) one ON CONFLICT DO NOTHING
"""
_CONVERSATIONS = """
INSERT INTO conversations_conversation (key, epoch, kind, state, title, metadata, last_seq, countable, handed_to, version)
SELECT key, gen_random_uuid(), %s, 'open', '', '{}', 0, 0, '', 1 FROM unnest(%s::text[]) key
"""
_MEMBERSHIPS = """
INSERT INTO conversations_membership (conversation_id, participant_id, role, joined_seq, muted)
SELECT c.id, one, 'member', 0, false FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS pair (key, one, place)
JOIN conversations_conversation c ON c.key = pair.key ORDER BY place
"""
_READ_CURSORS = """
INSERT INTO inbox_readcursor (conversation_id, participant_id, last_read_seq, countable)
SELECT c.id, one, 0, 0 FROM unnest(%s::text[], %s::text[]) AS pair (key, one)
JOIN conversations_conversation c ON c.key = pair.key
"""


def make(kind: Conversation.Kind, members: Mapping[str, Sequence[str]]) -> None:
    """Conversations of one kind: key → members, who are made too."""
    pairs = [(key, one) for key, ids in members.items() for one in ids]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_PARTICIPANTS, [columns[1]])
        cursor.execute(_CONVERSATIONS, [kind.value, list(members)])
        cursor.execute(_MEMBERSHIPS, columns)
        cursor.execute(_READ_CURSORS, columns)


def admin_of(key: str, participant_id: str) -> None:
    """A participant who may write to this broadcast."""
    Participant.objects.bulk_create([Participant(id=participant_id)], ignore_conflicts=True)
    conversation = Conversation.objects.get(key=key)
    Membership.objects.create(conversation=conversation, participant_id=participant_id, role="admin")


# As large as the messages that the drivers send.
_HISTORY = """
INSERT INTO conversations_message
  (id, conversation_id, seq, countable, sender_id, kind, text, content, metadata, mentions, created_at)
SELECT gen_random_uuid(), c.id, n, n, m.participant_id, 'text', %s, '{}', '{}', '[]',
  now() - interval '1 day' + n * interval '1 s'
FROM conversations_conversation c
CROSS JOIN LATERAL (
  SELECT participant_id FROM conversations_membership WHERE conversation_id = c.id ORDER BY participant_id DESC LIMIT 1
) m
CROSS JOIN generate_series(1, %s) n
WHERE c.key = ANY(%s)
"""
_HEADS = """
UPDATE conversations_conversation c
SET last_seq = m.seq, countable = m.seq, last_message = jsonb_build_object(
  'seq', m.seq, 'sender_id', m.sender_id, 'text', m.text, 'created_at', '2026-01-01T00:00:00.000000Z')
FROM conversations_message m WHERE m.conversation_id = c.id AND m.seq = %s AND c.key = ANY(%s)
"""


def history(keys: Sequence[str], messages: int, text: str) -> None:
    """So many messages in each of these empty conversations, by the last of its members."""
    with connection.cursor() as cursor:
        cursor.execute(_HISTORY, [text, messages, list(keys)])
        cursor.execute(_HEADS, [messages, list(keys)])


def analyse() -> None:
    """Tell Postgres's planner what has been made, as its own housekeeping does with time."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
