"""No statement of the server reads more than it was asked for, however full the tables are: by the plans of Postgres."""

from dataclasses import replace

import psycopg
import pytest
from django.conf import settings

from bench.growth import databases, load, plans, sample, shape
from bench.growth.journeys import JOURNEYS
from conversations.connection import Connection


@pytest.fixture(scope="module")
def filled(database: None) -> databases.Database:
    """A database of its own with 20,000 messages in 5,000 conversations."""
    return databases.make("plans", settings.FLEETLM.database_url, shape.large(20_000))


@pytest.fixture(scope="module")
def asked(filled: databases.Database) -> sample.Sample:
    return sample.take(filled.url, filled.shape)


@pytest.fixture(scope="module")
def small(database: None) -> databases.Database:
    return databases.make("plans_small", settings.FLEETLM.database_url, shape.SMALL)


@pytest.fixture(scope="module")
def asked_of_small(small: databases.Database) -> sample.Sample:
    return sample.take(small.url, small.shape)


async def test_every_plan_reads_what_was_asked_for(filled: databases.Database, asked: sample.Sample) -> None:
    explained = await plans.explain_all(filled.url, asked)
    assert {journey.name for journey, _ in explained} == {journey.name for journey in JOURNEYS}
    faults = [fault for journey, one in explained for fault in one.faults(journey.rows)]
    assert not faults, "\n".join(faults)


async def test_nor_where_one_participant_has_most_of_a_small_database(
    small: databases.Database, asked_of_small: sample.Sample
) -> None:
    """What is common in Postgres' statistics is not what is asked for: its guess of rows is then far off."""
    explained = await plans.explain_all(small.url, asked_of_small)
    faults = [fault for journey, one in explained for fault in one.faults(max(journey.rows, 2_500))]
    assert not faults, "\n".join(faults)


async def test_an_append_reaches_messages_cursors_and_streams(
    filled: databases.Database, asked: sample.Sample
) -> None:
    """The recorder sees what the server sends, past psycopg's cursors too."""
    explained = await plans.explain_all(filled.url, asked, JOURNEYS[:1])
    written = {
        node["Relation Name"]
        for _, one in explained
        for node in plans.nodes(one.plan)
        if node["Node Type"] == "ModifyTable"
    }
    assert written >= {
        *("conversations_message", "conversations_conversation", "inbox_readcursor"),
        *("inbox_mention", "agents_deliverystream"),
    }


async def _by_text(connection: Connection, sample: sample.Sample) -> None:
    await connection.execute("SELECT id FROM conversations_message WHERE text LIKE %s LIMIT 5", ("Nobody%",))


async def _newest_by_time(connection: Connection, sample: sample.Sample) -> None:
    statement = "SELECT seq FROM conversations_message WHERE conversation_id = %s ORDER BY created_at LIMIT 5"
    await connection.execute(statement, (sample.enormous_id,))


@pytest.mark.parametrize(
    ("run", "fault"),
    [(_by_text, "Seq Scan conversations_message: it grows"), (_newest_by_time, "Sort meets")],
)
async def test_a_bad_plan_is_found(
    filled: databases.Database, asked: sample.Sample, run: object, fault: str
) -> None:
    found = await plans.faults(filled.url, asked, [replace(JOURNEYS[0], name="bad", rows=100, run=run)])
    assert len(found) == 1


def test_what_is_loaded_is_what_the_server_would_have_written(filled: databases.Database) -> None:
    """Logs without holes, heads and cursors that fit them, ids in the order of time, and the migrations' own indexes."""
    with psycopg.connect(filled.url) as connection:
        assert not connection.execute(
            """
            SELECT c.key FROM conversations_conversation c LEFT JOIN LATERAL (
              SELECT count(*) AS stored, coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last
              FROM conversations_message m WHERE m.conversation_id = c.id
            ) log ON true
            WHERE NOT (log.first = 1 AND log.last = log.stored AND log.last = c.last_seq AND c.countable = c.last_seq)
            """
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM conversations_message").fetchone() == (20_000,)
        assert not connection.execute(
            """
            SELECT m.id FROM conversations_message m
            LEFT JOIN conversations_membership p ON p.conversation_id = m.conversation_id AND p.participant_id = m.sender_id
            LEFT JOIN inbox_readcursor r ON r.conversation_id = m.conversation_id AND r.participant_id = m.sender_id
            WHERE p.id IS NULL OR r.id IS NULL OR abs(extract(epoch FROM m.created_at - uuid_extract_timestamp(m.id))) > 0.002
            """
        ).fetchall()
        loaded = connection.execute(load.DEFINITIONS).fetchall()
    with psycopg.connect(settings.FLEETLM.database_url) as connection:
        assert loaded == connection.execute(load.DEFINITIONS).fetchall()
