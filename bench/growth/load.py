"""Fills a migrated database with INSERT … SELECT: ten million messages in a few minutes.

The ids are UUIDv7 in the order of time over 90 days, and neighbours in a conversation are far from each other in the table, as
after months of traffic. The indexes of messages are dropped and built anew at the end, in one transaction with the rows, so
that Postgres writes no log of them; what then stands is compared with what the migrations made.
"""

# ruff: noqa: S608  # only numbers and words of our own are put into the SQL

import psycopg

from bench.growth.shape import AGENT, ENORMOUS, ENORMOUS_MEMBERS, GROUP_MEMBERS, HEAVY, Shape

DAYS = 90
PROSE = (
    "Where is my parcel? It was sent on Monday and the page has said the same since then: it waits for the courier. Could "
    "someone have a look at it, please? The number is in the mail that I got from you, and the street has a new name, so "
    "perhaps the driver did not find it. I am at home until six today and the whole day tomorrow, and my neighbour takes "
    "parcels, too. Thank you for your help, and have a good day!"
)

Connection = psycopg.Connection[tuple[object, ...]]

# Text of 60 to 200 characters, the same for the same number.
TEXT = f"substr('{PROSE.replace(chr(39), chr(39) * 2)}', (n %% 211 + 1)::int, (60 + n * 7919 %% 141)::int)"

# A row for each conversation that is to be: its two writers, and how long its log gets. The first are the large inbox, then
# come the agent's, then groups, then dms of two people each, and in the end the enormous one.
PLAN = f"""
CREATE TEMPORARY TABLE plan ON COMMIT PRESERVE ROWS AS
SELECT place, base + place AS id, kind, first, second,
       CASE kind WHEN 'dm' THEN first || ':' || second ELSE first_key END AS key,
       CASE WHEN place = %(conversations)s THEN %(messages)s / %(stride)s
            ELSE ordinary / %(others)s + (place - 1 < ordinary %% %(others)s)::int END AS last_seq
FROM (
  SELECT place, (SELECT coalesce(max(id), 0) FROM conversations_conversation) AS base,
         %(messages)s - %(messages)s / %(stride)s AS ordinary,
         CASE WHEN place = %(conversations)s OR place BETWEEN %(agents_to)s + 1 AND %(groups_to)s THEN 'group' ELSE 'dm' END
           AS kind,
         CASE WHEN place = %(conversations)s THEN '{ENORMOUS}' ELSE 'group-' || place END AS first_key,
         CASE WHEN place = %(conversations)s THEN 'writer-0'
              WHEN place <= %(inbox)s THEN '{HEAVY}'
              WHEN place <= %(agents_to)s THEN 'asker-' || place
              WHEN place <= %(groups_to)s THEN 'writer-' || place %% %(people)s
              ELSE 'reader-' || (place %% %(people)s * 7 + place / %(people)s) %% %(people)s END AS first,
         CASE WHEN place = %(conversations)s THEN 'writer-1'
              WHEN place <= %(inbox)s THEN 'reader-' || place
              WHEN place <= %(agents_to)s THEN '{AGENT}'
              WHEN place <= %(groups_to)s THEN 'writer-' || (place + 1) %% %(people)s
              ELSE 'writer-' || place %% %(people)s END AS second
  FROM generate_series(1::bigint, %(conversations)s) place
) planned
"""

PARTICIPANTS = f"""
INSERT INTO conversations_participant (id, kind, display_name, metadata, updated_at)
SELECT id, 'user', '', '{{}}', now() FROM (
  SELECT first AS id FROM plan UNION SELECT second FROM plan UNION SELECT '{HEAVY}'
  UNION SELECT 'writer-' || n FROM generate_series(0, %(people)s - 1) n
  UNION SELECT 'reader-' || n FROM generate_series(0, %(people)s - 1) n
) everyone ON CONFLICT (id) DO NOTHING
"""

CONVERSATIONS = f"""
INSERT INTO conversations_conversation
  (id, key, epoch, kind, state, title, metadata, last_seq, countable, handed_to, version, created_at, updated_at, last_message)
SELECT id, key, gen_random_uuid(), kind, 'open', '', '{{}}', last_seq, last_seq, '', 1,
       now() - interval '{DAYS} days', now() - random() * interval '1 day',
       CASE WHEN last_seq > 0 THEN jsonb_build_object('seq', last_seq, 'text', left({TEXT}, 140), 'created_at', now(),
         'sender_id', CASE last_seq %% 2 WHEN 1 THEN first ELSE second END) END
FROM (SELECT *, place AS n FROM plan) numbered ORDER BY place
"""

MEMBERSHIPS = f"""
INSERT INTO conversations_membership (conversation_id, participant_id, role, joined_seq, muted)
SELECT id, participant_id, 'member', 0, false FROM (
  SELECT id, 1 AS place, first AS participant_id FROM plan
  UNION ALL SELECT id, 2, second FROM plan
  UNION ALL SELECT id, 2 + more, 'reader-' || (place + more) %% %(people)s
            FROM plan, generate_series(1, {GROUP_MEMBERS} - 2) more WHERE kind = 'group' AND key <> '{ENORMOUS}'
  UNION ALL SELECT id, 2 + more, 'reader-' || more FROM plan, generate_series(1, {ENORMOUS_MEMBERS} - 2) more
            WHERE key = '{ENORMOUS}'
) members ORDER BY id, place
"""

# Whoever takes part has read all but a few.
CURSORS = """
INSERT INTO inbox_readcursor (participant_id, conversation_id, last_read_seq, countable)
SELECT m.participant_id, m.conversation_id, read, read
FROM (SELECT m.id, m.participant_id, m.conversation_id, greatest(p.last_seq - m.id % 7, 0) AS read
      FROM conversations_membership m JOIN plan p ON p.id = m.conversation_id) m
ORDER BY m.id
"""

MENTIONS = f"""
INSERT INTO inbox_mention (participant_id, conversation_id, seq)
SELECT second, id, seq FROM plan, generate_series(1::bigint, least(last_seq, 10)) seq
WHERE kind = 'group' AND key <> '{ENORMOUS}'
UNION ALL SELECT first, id, last_seq FROM plan WHERE first = '{HEAVY}' AND last_seq > 0
"""

MESSAGES = f"""
INSERT INTO conversations_message (id, conversation_id, seq, countable, sender_id, kind, text, content, metadata, mentions,
                                   client_id, created_at)
SELECT uuidv7(at - clock_timestamp()), plan.id, seq, seq, CASE seq %% 2 WHEN 1 THEN first ELSE second END, 'text', {TEXT},
       '{{}}', '{{}}', '[]',
       CASE WHEN n %% 10 > 0 THEN md5(n::text)::uuid::text END, at
FROM (
  SELECT n, now() - (%(messages)s - n) * (interval '{DAYS} days' / %(messages)s) AS at,
         CASE WHEN n %% %(stride)s = 0 THEN %(conversations)s ELSE (n - n / %(stride)s - 1) %% %(others)s + 1 END AS place,
         CASE WHEN n %% %(stride)s = 0 THEN n / %(stride)s ELSE (n - n / %(stride)s - 1) / %(others)s + 1 END AS seq
  FROM generate_series(1::bigint, %(messages)s) n
) numbered JOIN plan USING (place)
"""

# A few are due, a few are given up, the rest rest.
STREAMS = f"""
INSERT INTO agents_deliverystream
  (endpoint_id, agent_id, conversation_id, enabled, handed_over, trigger, cursor, wanted_seq, attempts, blocked, park_reason,
   last_error, due_at, waiting_since, parked_at)
SELECT e.id, e.agent_id, p.id, true, false, '', greatest(p.last_seq - (due OR parked)::int, 0), p.last_seq, 0, false,
       CASE WHEN parked THEN 'exhausted' ELSE '' END, '', CASE WHEN due THEN now() - interval '1 second' END,
       CASE WHEN due OR parked THEN now() - interval '1 second' END, CASE WHEN parked THEN now() END
FROM (SELECT *, (place - %(inbox)s) %% (%(streams)s / %(due)s) = 0 AS due, place %% 100 = 1 AS parked FROM plan
      WHERE place BETWEEN %(inbox)s + 1 AND %(agents_to)s) p
CROSS JOIN agents_endpoint e WHERE e.agent_id = '{AGENT}' ORDER BY p.id
"""

ATTEMPTS = f"""
INSERT INTO agents_attempt (stream_id, call_id, run_id, number, from_seq, to_seq, outcome, status, duration_ms, error, request,
                            response, created_at)
SELECT s.id, gen_random_uuid(), gen_random_uuid(), 1, n, n, 'accepted', 204, 20, '', repeat('request ', 40), '204',
       now() - interval '{DAYS} days' * (5 - n) / 5
FROM generate_series(1, 4) n, agents_deliverystream s ORDER BY n, s.id
"""

# Everything of a table that the loading must leave as it found it.
DEFINITIONS = """
SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'options', relname || ' ' || array_to_string(reloptions, ' ') FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
ORDER BY 1, 2
"""

MESSAGE_CONSTRAINTS = """
SELECT format('ALTER TABLE conversations_message DROP CONSTRAINT %I', conname),
       format('ALTER TABLE conversations_message ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = 'conversations_message'::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT format('DROP INDEX %I', i.relname), pg_get_indexdef(i.oid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = 'conversations_message'::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid)
"""

SMALL_TABLES = (PARTICIPANTS, CONVERSATIONS, MEMBERSHIPS, CURSORS, MENTIONS, STREAMS, ATTEMPTS)


def fill(url: str, shape: Shape) -> None:
    """Fill a migrated database in which the agent is registered. Raises `RuntimeError` when the tables are not as they were."""
    numbers = {
        "messages": shape.messages,
        "conversations": shape.conversations,
        "stride": shape.stride,
        "others": shape.others,
        "people": shape.people,
        "inbox": shape.inbox,
        "streams": shape.streams,
        "due": shape.due,
        "agents_to": shape.inbox + shape.streams,
        "groups_to": shape.inbox + shape.streams + shape.groups,
    }
    # Numbers go into the text: the types of parameters would have to be said at each place.
    statement = {name: f"{value}::bigint" for name, value in numbers.items()}
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("maintenance_work_mem = '1GB'", "work_mem = '256MB'", "synchronous_commit = off"):
            connection.execute(f"SET {setting}")
        before = connection.execute(DEFINITIONS).fetchall()
        connection.execute(PLAN % statement)
        connection.execute("ANALYZE plan")
        with connection.transaction():
            for text in SMALL_TABLES:
                connection.execute(text % statement if "%(" in text or "%%" in text else text)
            connection.execute(
                "SELECT setval(pg_get_serial_sequence('conversations_conversation', 'id'), (SELECT max(id) FROM plan))"
            )
        _fill_messages(connection, MESSAGES % statement)
        if connection.execute(DEFINITIONS).fetchall() != before:
            raise RuntimeError("The indexes and constraints are not those that the migrations made.")
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _fill_messages(connection: Connection, statement: str) -> None:
    with connection.transaction():
        # The primary key's order of columns and every name come back as they were: Postgres itself says how it is made.
        remade = connection.execute(MESSAGE_CONSTRAINTS).fetchall()
        connection.execute("TRUNCATE conversations_message")
        for drop, _ in remade:
            connection.execute(str(drop))
        connection.execute(statement)
        for _, make in remade:
            connection.execute(str(make))
