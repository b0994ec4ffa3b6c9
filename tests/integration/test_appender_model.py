"""Two processes write the same conversation at once, members come and go, clients retry: the promises hold all the same.

Each example is a list of rounds. What is in one round happens at the same time, through both processes; after each round
everything that was acknowledged, and everything that is stored, is compared with what may be.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.append import Appended, AppendRequest
from conversations.errors import FleetLMError
from inbox import queries as inbox_queries
from inbox import store as inbox_store
from runtime import members
from runtime.appender import Appender
from runtime.database import Pool, in_thread, make_pool
from tests.integration.live import PATIENCE, Group, make_appender, make_group

PEOPLE = 3

SENDS = st.fixed_dictionaries(
    {
        "do": st.just("send"),
        "who": st.integers(0, PEOPLE - 1),
        "through": st.integers(0, 1),
        "text": st.sampled_from(["one", "two", "@0", "@1 @2"]),
        "kind": st.sampled_from(["text", "text", "text", "system", "redaction"]),
        "client_id": st.none() | st.sampled_from(["c1", "c2", "c3"]),
        "expected": st.none() | st.integers(-1, 1),
        "target": st.integers(1, 6),
    }
)
RETRIES = st.fixed_dictionaries(
    {"do": st.just("retry"), "which": st.integers(0, 30), "through": st.integers(0, 1)}
)
READS = st.fixed_dictionaries(
    {"do": st.just("read"), "who": st.integers(0, PEOPLE - 1), "seq": st.integers(0, 30)}
)
CHANGES = st.fixed_dictionaries(
    {"do": st.sampled_from(["leave", "come back", "close", "open"]), "who": st.integers(1, PEOPLE - 1)}
)
ROUNDS = st.lists(
    st.lists(SENDS | SENDS | RETRIES | READS, min_size=1, max_size=8)
    | st.tuples(CHANGES, SENDS, SENDS, READS)
    | st.tuples(CHANGES),
    min_size=2,
    max_size=10,
)


@dataclass
class World:
    """One conversation, what both processes did to it, and what is known of it for certain."""

    group: Group
    appenders: list[Appender]
    pool: Pool
    present: dict[str, bool]
    open: bool = True
    unsettled: set[str] = field(default_factory=set)
    """What changes in this very round: people, or `state`."""
    sent: list[tuple[AppendRequest, Appended]] = field(default_factory=list)
    acknowledged: dict[int, Appended] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)

    # One round.

    async def play(self, steps: Any) -> None:
        self.unsettled = {
            "state" if step["do"] in ("close", "open") else self.group.people[step["who"]]
            for step in steps
            if step["do"] in ("leave", "come back", "close", "open")
        }
        last_seq = max(self.acknowledged, default=0)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*[self._step(step, last_seq) for step in steps])
        await self.check()

    async def _step(self, step: dict[str, Any], last_seq: int) -> None:
        match step["do"]:
            case "send":
                await self._send(self._request(step, last_seq), step["through"])
            case "retry" if self.sent:
                await self._retry(*self.sent[step["which"] % len(self.sent)], step["through"])
            case "read":
                await self._read(self.group.people[step["who"]], step["seq"])
            case "close" | "open":
                await in_thread(
                    members.set_state, self.group.key, {"close": "closed"}.get(step["do"], "open")
                )
                self.open = step["do"] == "open"
            case "leave" | "come back":
                await self._change_member(self.group.people[step["who"]], step["do"] == "come back")

    def _request(self, step: dict[str, Any], last_seq: int) -> AppendRequest:
        text = step["text"]
        for number, name in enumerate(self.group.people):
            text = text.replace(f"@{number}", f"@{name}")
        return AppendRequest(
            key=self.group.key,
            sender_id=self.group.people[step["who"]],
            text="" if step["kind"] == "redaction" else text,
            kind=step["kind"],
            client_id=step["client_id"],
            reply_to=step["target"] if step["kind"] == "redaction" else None,
            expected_seq=None if step["expected"] is None else max(last_seq + step["expected"], 0),
            privileged=step["kind"] == "system",
        )

    async def _send(self, request: AppendRequest, through: int) -> None:
        try:
            appended = await self.appenders[through].submit(request)
        except FleetLMError as error:
            self._refused(request, error)
            return
        self.sent.append((request, appended))
        if appended.deduplicated:
            return
        assert appended.message.seq not in self.acknowledged, "a seq was given out twice"
        self.acknowledged[appended.message.seq] = appended
        if request.kind != "system":
            self._settled(request.sender_id, expected=True)
        if "state" not in self.unsettled:
            assert self.open, "a closed conversation took a message"
        if request.expected_seq is not None:
            assert appended.message.seq == request.expected_seq + 1

    def _settled(self, name: str, *, expected: bool) -> None:
        if name not in self.unsettled:
            assert self.present[name] is expected

    def _refused(self, request: AppendRequest, error: FleetLMError, *only: str) -> None:
        assert not only or error.code in only
        match error.code:
            case "not_a_member":
                self._settled(request.sender_id, expected=False)
            case "conversation_closed":
                assert "state" in self.unsettled or not self.open
            case "seq_conflict":
                assert error.details["last_seq"] != request.expected_seq
            case "client_id_reused":
                assert request.client_id is not None
            case "invalid_request" | "not_allowed":
                assert request.kind == "redaction"
            case code:
                pytest.fail(f"{code}: {error}")

    async def _retry(self, request: AppendRequest, first: Appended, through: int) -> None:
        """Of a message without a client_id there is no retry; with one, it is the same message for ever."""
        if request.client_id is None:
            return
        try:
            again = await self.appenders[through].submit(request)
        except FleetLMError as error:
            self._refused(request, error, "not_a_member")
            return
        assert again.deduplicated
        assert (again.message.seq, again.message.id) == (first.message.seq, first.message.id)

    async def _read(self, name: str, seq: int) -> None:
        if not self.present[name] or name in self.unsettled:
            return
        last_seq = max(self.acknowledged, default=0)
        async with self.pool.connection() as connection:
            (moved,) = await connection.run(inbox_store.move_cursor(name, self.group.id, seq))
        assert moved.rows[0][0] >= min(seq, last_seq)

    async def _change_member(self, name: str, come: bool) -> None:
        if come:
            await in_thread(members.add, self.group.key, {name: "member"})
        elif self.present[name]:
            await in_thread(members.remove, self.group.key, name)
        self.present[name] = come

    # What must be true after each round.

    async def check(self) -> None:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT seq, id, sender_id, kind, text, client_id, reply_to, mentions "
                "FROM conversations_message WHERE conversation_id = %s ORDER BY seq",
                (self.group.id,),
            )
            log = await cursor.fetchall()
            cursor = await connection.execute(
                "SELECT last_seq, countable FROM conversations_conversation WHERE id = %s", (self.group.id,)
            )
            head = await cursor.fetchone()
            asked = [(name, self.group.id) for name in self.group.people]
            entries = await inbox_queries.entries(connection, asked)
        countable = [row[0] for row in log if row[3] not in ("system", "redaction")]
        assert head == (len(log), len(countable))
        self._check_log(log)
        assert {name for name, _ in entries} == {name for name, here in self.present.items() if here}
        for (name, _), entry in entries.items():
            self._check_entry(name, entry, log, countable)

    def _check_log(self, log: list[tuple[Any, ...]]) -> None:
        assert [row[0] for row in log] == list(range(1, len(log) + 1)), "a hole"
        assert sorted(self.acknowledged) == [row[0] for row in log], "acknowledged is stored, once"
        blanked = {row[6] for row in log if row[3] == "redaction"}
        for seq, message_id, sender, kind, text, client_id, _, mentions in log:
            message = self.acknowledged[seq].message
            assert (message_id, sender, kind, client_id) == (
                message.id,
                message.sender_id,
                message.kind,
                message.client_id,
            )
            assert (text, mentions) == (("", []) if seq in blanked else (message.text, message.mentions))
        used = Counter((row[2], row[5]) for row in log if row[5] is not None)
        assert max(used.values(), default=1) == 1, "a retry made a second message"

    def _check_entry(
        self, name: str, entry: dict[str, Any], log: list[tuple[Any, ...]], countable: list[int]
    ) -> None:
        read = entry["last_read_seq"]
        assert read >= self.cursors.get(name, 0), "a read cursor went back"
        assert read <= len(log)
        self.cursors[name] = read
        assert entry["unread_count"] == sum(seq > read and log[seq - 1][2] != name for seq in countable)
        assert entry["mention_count"] == sum(name in row[7] and row[2] != name for row in log[read:])
        shown = entry["last_message"]
        assert (shown["seq"] if shown else None) == (countable[-1] if countable else None)
        if shown:
            assert shown["text"] == log[countable[-1] - 1][4]


@pytest.fixture
async def appenders() -> AsyncIterator[list[Appender]]:
    """Two processes: each has a pool, a queue and a cache of its own."""
    async with make_pool(2) as one, make_pool(2) as other:
        appenders = [make_appender(one, batch_items=4), make_appender(other, batch_items=4)]
        for appender in appenders:
            appender.start()
        yield appenders
        for appender in appenders:
            await appender.stop(PATIENCE)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(4) as pool:
        yield pool


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds=ROUNDS)
async def test_any_interleaving_keeps_the_promises(
    appenders: list[Appender], pool: Pool, rounds: Any
) -> None:
    group = await make_group(PEOPLE, admins=1)
    world = World(group, appenders, pool, dict.fromkeys(group.people, True))
    for steps in rounds:
        await world.play(steps)


async def test_a_storm_of_both_processes_keeps_the_promises(appenders: list[Appender], pool: Pool) -> None:
    """More at once than the examples above have: each client sends all of its messages twice, through either process."""
    group = await make_group(PEOPLE)
    world = World(group, appenders, pool, dict.fromkeys(group.people, True))
    sends = [
        {
            "do": "send",
            "who": number % PEOPLE,
            "through": through,
            "text": f"{number} @1",
            "kind": "text",
            "client_id": f"c{number}",
            "expected": None,
            "target": 1,
        }
        for number in range(150)
        for through in (0, 1)
    ]
    reads = [{"do": "read", "who": number % PEOPLE, "seq": number} for number in range(0, 150, 5)]
    await world.play([*sends, *reads])
    assert len(world.acknowledged) == 150
    assert len(world.sent) == 300
