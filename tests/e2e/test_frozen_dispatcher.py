"""A dispatcher that is held still beyond its lease, and wakes when another has taken over: it is too late to matter."""

import asyncio
import contextlib
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from aiohttp import web
from psycopg.rows import dict_row

from runtime.database import make_pool
from tests.e2e.rest import Api
from tests.e2e.stack import HOST, Stack, plain_stack

PATIENCE = 20.0
CONVERSATIONS = 8
"""At once: that each of them is too late is no accident."""


@dataclass
class Call:
    """One call that the agent holds until the test says how it is answered."""

    body: dict[str, Any]
    reply: "asyncio.Future[web.Response]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def key(self) -> str:
        """The conversation."""
        return str(self.body["key"])

    def accept(self) -> None:
        """Answer that the call was taken."""
        self.reply.set_result(web.Response(status=204))

    def answer(self, text: str) -> None:
        """Answer with a message."""
        self.reply.set_result(web.json_response({"text": text}))


class Agent:
    """An agent that answers when it is told to."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Call] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take a call."""
        call = Call(await request.json())
        self._calls.put_nowait(call)
        return await call.reply

    async def calls(self, number: int) -> dict[str, Call]:
        """The next so many calls, by key."""
        async with asyncio.timeout(PATIENCE):
            calls = [await self._calls.get() for _ in range(number)]
        return {call.key: call for call in calls}


@pytest.fixture(scope="module")
def two_dispatchers() -> Iterator[Stack]:
    """One web process and two dispatchers, whose leases are short."""
    with plain_stack(FLEETLM_DISPATCH_LEASE="2", FLEETLM_AGENT_TIMEOUT="30") as stack:
        for name in ("early", "late"):
            stack.add_dispatcher(name)
        stack.await_work()
        yield stack


@pytest.fixture
async def api(two_dispatchers: Stack) -> AsyncIterator[Api]:
    async with Api(two_dispatchers.web) as client:
        yield client


@pytest.fixture
async def agent() -> AsyncIterator[tuple[Agent, str]]:
    """The agent, and where it is called."""
    agent = Agent()
    app = web.Application()
    app.router.add_post("/", agent.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    yield agent, f"http://{HOST}:{runner.addresses[0][1]}/"
    await runner.cleanup()


@dataclass
class Streams:
    """What Postgres says of the delivery streams of one agent."""

    connection: psycopg.AsyncConnection[dict[str, Any]]
    bot: str

    async def now(self) -> dict[str, dict[str, Any]]:
        """Each stream by key, as far as whoever holds the lease may change it; renewing it is no change."""
        found = await self.connection.execute(
            "SELECT c.key, cursor, wanted_seq, lease_id, run_id, call_id, call_seq, attempts, parked_at, last_error"
            " FROM agents_deliverystream s JOIN conversations_conversation c ON c.id = s.conversation_id"
            " WHERE agent_id = %s",
            [self.bot],
        )
        return {row["key"]: row for row in await found.fetchall()}

    async def at_rest(self) -> dict[str, dict[str, Any]]:
        """The streams, as soon as nobody holds one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                streams = await self.now()
                if not any(stream["lease_id"] for stream in streams.values()):
                    return streams
                await asyncio.sleep(0.02)  # there is nothing to await: only the rows tell

    async def attempts(self) -> dict[str, list[tuple[str, int, str]]]:
        """The log by key: outcome, number and run of each attempt."""
        found = await self.connection.execute(
            "SELECT c.key, a.outcome, a.number, a.run_id::text FROM agents_attempt a"
            " JOIN agents_deliverystream s ON s.id = a.stream_id"
            " JOIN conversations_conversation c ON c.id = s.conversation_id WHERE s.agent_id = %s ORDER BY a.id",
            [self.bot],
        )
        log: dict[str, list[tuple[str, int, str]]] = {}
        for row in await found.fetchall():
            log.setdefault(row["key"], []).append((row["outcome"], row["number"], row["run_id"]))
        return log


@pytest.fixture
async def streams(two_dispatchers: Stack, fresh: str) -> AsyncIterator[Streams]:
    connection = await psycopg.AsyncConnection.connect(
        two_dispatchers.database_url, autocommit=True, row_factory=dict_row
    )
    async with connection:
        yield Streams(connection, f"bot-{fresh}")


@pytest.mark.parametrize("outcome", ["accepted", "answered"])
@pytest.mark.parametrize("wakes", ["after the other has finished", "while the other calls"])
async def test_an_acknowledgement_that_comes_too_late_moves_no_cursor(
    two_dispatchers: Stack,
    api: Api,
    agent: tuple[Agent, str],
    streams: Streams,
    fresh: str,
    wakes: str,
    outcome: str,
) -> None:
    bot, url = agent
    await api.call("POST", "agents", {"id": streams.bot, "url": url})
    keys = [f"alice-{number}-{fresh}:{streams.bot}" for number in range(CONVERSATIONS)]
    frozen = contextlib.ExitStack()
    with frozen:
        frozen.enter_context(two_dispatchers.frozen("late"))
        for key in keys:
            await api.send(key, key.partition(":")[0], "hello")
        first = await bot.calls(CONVERSATIONS)
        with two_dispatchers.frozen("early"):
            frozen.close()
            second = await bot.calls(CONVERSATIONS)  # as soon as the leases have run out
            _the_same_again(first, second)
            if wakes == "after the other has finished":
                _end(second, outcome, "in time")
                await streams.at_rest()
            # The answers wait in the sockets of the one that is held still.
            _end(first, outcome, "too late")
            before = await streams.now()
        await _idle(two_dispatchers, "early")
    assert await streams.now() == before
    counted = _counted(two_dispatchers, "early", streams.bot)
    if outcome == "accepted":
        assert counted == {"accepted": CONVERSATIONS}, "it never tried to acknowledge"
    else:
        assert counted.keys() <= {"answered"}

    if wakes == "while the other calls":
        assert {stream["cursor"] for stream in before.values()} == {0}
        assert await streams.attempts() == {}
        _end(second, outcome, "in time")
    after = await streams.at_rest()
    assert {key: (stream["cursor"], stream["attempts"]) for key, stream in after.items()} == dict.fromkeys(
        keys, (1, 0)
    )
    assert await streams.attempts() == {key: [(outcome, 2, second[key].body["run_id"])] for key in keys}
    for key in keys:
        said = [message["text"] for message in await api.log(key) if message["sender_id"] == streams.bot]
        if outcome == "accepted":
            assert said == []
        elif wakes == "after the other has finished":
            assert said == ["in time"]
        else:
            assert said in (["in time"], ["too late"])  # whose came first; never both

    # What is said next is what is new then.
    await api.send(keys[0], keys[0].partition(":")[0], "again")
    (call,) = (await bot.calls(1)).values()
    _end({call.key: call}, outcome, "again")
    assert call.body["new_from_seq"] == call.body["conversation"][-1]["seq"]
    assert call.body["conversation"][-1]["text"] == "again"
    await streams.at_rest()


async def test_who_is_held_still_in_a_transaction_holds_nobody_up() -> None:
    lock = "SELECT pg_advisory_xact_lock(4711)"
    pool = make_pool()
    await pool.open()
    try:
        async with pool.connection() as waiting:
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):  # noqa: PT012  # what comes first matters
                async with pool.connection() as still, still.transaction():
                    await still.execute(lock)
                    await waiting.execute(lock)  # which would give up at last
                    await still.execute("SELECT 1")
    finally:
        await pool.close()


def _the_same_again(first: dict[str, Call], second: dict[str, Call]) -> None:
    assert first.keys() == second.keys()
    for key, call in first.items():
        again = second[key]
        assert call.body["id"] == again.body["id"]
        assert call.body["run_id"] != again.body["run_id"]
        assert call.body["conversation"] == again.body["conversation"]


def _end(calls: dict[str, Call], outcome: str, text: str) -> None:
    for call in calls.values():
        if outcome == "accepted":
            call.accept()
        else:
            call.answer(text)


async def _idle(stack: Stack, name: str) -> None:
    """Wait until a dispatcher has no call under way."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if _metrics(stack, name, r"fleetlm_deliveries_in_flight (\d+)") == ["0"]:
                return
            await asyncio.sleep(0.02)


def _counted(stack: Stack, name: str, bot: str) -> dict[str, int]:
    """What came of this agent's calls, by outcome, as this dispatcher saw it."""
    pattern = rf'deliveries_total{{[^}}]*"{bot}"[^}}]*outcome="(\w+)"[^}}]*}} (\d+)'
    return {outcome: int(number) for outcome, number in _metrics(stack, name, pattern)}


def _metrics(stack: Stack, name: str, pattern: str) -> list[Any]:
    with urllib.request.urlopen(stack.metrics[name], timeout=5) as answer:
        return re.findall(pattern, answer.read().decode())
