"""What the server does with Postgres, by the server's own functions: each is timed, and the plans of its statements checked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time
from uuid import UUID, uuid4

import inbox.queries
import inbox.store
from agents import breaker, marking
from agents import queries as agent_queries
from agents import store as agent_store
from agents.calls import AttemptRecord, Ending, Finish
from bench.growth.sample import Sample
from bench.growth.shape import ENORMOUS, HEAVY
from conversations import queries, search
from conversations.append import AppendRequest
from conversations.connection import Connection
from runtime import briefs
from runtime.batch import MembersCache, commit_batch

BATCH = 32
PAGE = 50
RESUMED = 20
SEARCHED = 1_000
CLAIMED = 32

Run = Callable[[Connection, Sample], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Journey:
    """`rows` is the most that one node of a plan may bring or throw away: what was asked for, whatever the tables hold."""

    name: str
    rows: int
    run: Run


async def append(connection: Connection, sample: Sample) -> None:
    """A batch: most of it new, one to the enormous conversation, one stored before, one with mentions, one redaction."""
    some = sample.random.sample(sample.conversations, BATCH)
    requests = [
        AppendRequest(
            key=key, sender_id=member, text="Where is my parcel?", client_id=str(uuid4()), privileged=True
        )
        for _, key, member in some
    ]
    requests.append(AppendRequest(key=ENORMOUS, sender_id="writer-0", text="Hello", client_id=str(uuid4())))
    key, sender, client_id = sample.random.choice(sample.stored)
    requests.append(AppendRequest(key=key, sender_id=sender, text="Hello?", client_id=client_id))
    _, group, member = sample.random.choice(sample.groups)
    requests.append(AppendRequest(key=group, sender_id=member, text="@writer-1 @helper, see this"))
    requests.append(AppendRequest(key=group, sender_id=member, kind="redaction", reply_to=1, privileged=True))
    await commit_batch(connection, requests, MembersCache(1_000))


async def mark_due(connection: Connection, sample: Sample) -> None:
    """What an append of a batch does for agents and subscriptions."""
    some = sample.random.sample(sample.conversations, BATCH)
    await connection.run(*marking.mark_due([marking.News(one, 1_000, who, True, ()) for one, _, who in some]))


async def view(connection: Connection, sample: Sample) -> None:
    """A conversation by its key, with the role of who asks."""
    _, key, member = sample.random.choice(sample.conversations)
    assert await queries.view(connection, key, member)


async def newest_page(connection: Connection, sample: Sample) -> None:
    """The newest page of the enormous conversation."""
    assert await queries.page_before(connection, sample.enormous_id, sample.enormous_seq + 1, PAGE)


async def deep_page(connection: Connection, sample: Sample) -> None:
    """A page from anywhere in the enormous conversation."""
    before = sample.random.randrange(sample.enormous_seq // 4, sample.enormous_seq)
    assert len(await queries.page_before(connection, sample.enormous_id, before, PAGE)) == PAGE


async def page(connection: Connection, sample: Sample) -> None:
    """The newest page of an ordinary conversation."""
    one, _, _ = sample.random.choice(sample.conversations)
    assert await queries.page_before(connection, one, 1 << 40, PAGE)


async def resume(connection: Connection, sample: Sample) -> None:
    """What a socket asks for that was away for a moment."""
    after, up_to = sample.enormous_seq - RESUMED, sample.enormous_seq
    assert await queries.page_after(connection, sample.enormous_id, after, up_to, 200)


async def heads(connection: Connection, sample: Sample) -> None:
    """The heads of the conversations that are open in a process; who is still a member of one."""
    some = sample.random.sample(sample.conversations, BATCH)
    await queries.heads(connection, [one for one, _, _ in some])
    await queries.still_members(connection, some[0][0], [some[0][2]])
    await inbox.queries.keys_of(connection, [one for one, _, _ in some])
    await inbox.queries.members(connection, sample.enormous_id, 200)


async def search_words(connection: Connection, sample: Sample) -> None:
    """A step of a search through the large inbox, of one that is narrowed to some keys, and of one that finds something."""
    words, up_to_id = search.patterns("nowhere to_be found"), 1 << 40
    heads = await search.conversations_of(connection, HEAVY, None, up_to_id, SEARCHED)
    assert heads
    assert not await search.matching(connection, list(search.ranges(heads, None, SEARCHED)), words, PAGE)
    keys = [key for _, key, _ in sample.conversations[:BATCH]]
    assert await search.conversations_of(connection, sample.conversations[0][2], keys, up_to_id, SEARCHED)
    enormous = list(search.ranges([(sample.enormous_id, sample.enormous_seq)], None, SEARCHED))
    assert len(await search.matching(connection, enormous, ["%%"], PAGE)) == PAGE


async def move_cursor(connection: Connection, sample: Sample) -> None:
    """A read cursor moved, in the large inbox."""
    one = sample.random.choice(sample.heavy)
    await connection.run(inbox.store.move_cursor(HEAVY, one, 1 << 40), *marking.mark_inbox(one, [HEAVY]))


async def unread(connection: Connection, sample: Sample) -> None:
    """What a cached inbox of a thousand is compared with."""
    assert len(await inbox.queries.versions(connection, HEAVY, 1_000)) == len(sample.heavy)


async def entries(connection: Connection, sample: Sample) -> None:
    """A thousand entries built anew: unread counts, mentions, members."""
    built = await inbox.queries.entries(connection, [(HEAVY, one) for one in sample.heavy])
    assert len(built) == len(sample.heavy)


async def tick(connection: Connection, sample: Sample) -> None:
    """The entries of one tick, those that a subscription is told of, and the look for lost hints."""
    some = sample.random.sample(sample.heavy, BATCH)
    assert await inbox.queries.entries(connection, [(HEAVY, one) for one in some])
    await inbox.queries.entries_of(connection, some[:4], 1_000)
    await inbox.queries.recent_conversations(connection, UUID(int=int((time() - 7) * 1_000) << 80))
    await inbox.queries.memberships_among(connection, some, [HEAVY])


async def claim(connection: Connection, sample: Sample) -> None:
    """The due streams claimed."""
    streams, _ = await _claim(connection)
    assert streams


async def deliver(connection: Connection, sample: Sample) -> None:
    """Streams claimed, what their calls carry read, the leases renewed, the streams given back."""
    streams, _ = await _claim(connection)
    await briefs.load(connection, streams)
    await agent_queries.streaks(connection, streams)
    await agent_store.wanted_to_end(connection, streams)
    await agent_store.renew_leases(connection, streams, 30)
    await agent_store.release(connection, streams[:2])
    await agent_store.request_cancel(connection, streams[0].conversation_id, streams[0].run_id)
    record = AttemptRecord(outcome="accepted", duration_ms=5, status=204)
    await agent_store.finish(connection, [Finish(one, Ending.DELIVERED, attempt=record) for one in streams])
    await breaker.bring_probes(connection)
    await breaker.release_blocked(connection, [streams[0].endpoint_id])
    await agent_store.seconds_to_next_due(connection)


async def _claim(connection: Connection):  # type: ignore[no-untyped-def]
    return await agent_store.claim_due_streams(
        connection, limit=CLAIMED, held={}, lease_seconds=30, give_up_after=172_800, probe_pause_max=600
    )


MEMBERS_READ = 20 * BATCH
"""Members of as many conversations as a batch has, and a little more."""

JOURNEYS = (
    Journey("append of a batch", MEMBERS_READ, append),
    Journey("mark streams due, 32 conversations", MEMBERS_READ, mark_due),
    Journey("a conversation by its key", 4, view),
    Journey("newest 50 of the enormous conversation", 2 * PAGE, newest_page),
    Journey("50 from its depth", 2 * PAGE, deep_page),
    Journey("newest 50 of any conversation", 2 * PAGE, page),
    Journey("resume: the 20 after a cursor", 2 * RESUMED, resume),
    Journey("heads of 32 conversations", 1_000, heads),
    Journey("search 1,000 messages", 2 * SEARCHED, search_words),
    Journey("move a read cursor", 4, move_cursor),
    Journey("unread state of an inbox of 1,000", 2_000, unread),
    Journey("build an inbox of 1,000", 5_000, entries),
    Journey("one tick of 32 entries", 400, tick),
    Journey("claim 32 due streams", 100, claim),
    Journey("deliver 32 streams", 2_000, deliver),
)
