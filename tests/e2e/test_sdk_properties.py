"""Whatever a network does to them: every client of either SDK sees every seq once and in order, and what it was told is stored
is stored once, where it was told.

Random networks (`tests/e2e/fault_schedule.py`), random writers, real processes; in some runs one of the two web processes is
killed. In the end the network is well again, and everything has to come right by itself.
"""

import asyncio
import contextlib
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.fault_schedule import BYTES, NAMES, Fault
from tests.e2e.faulty_proxy import FAIR, FaultyProxy, Weather
from tests.e2e.javascript import ROOT, node
from tests.e2e.rest import Api
from tests.e2e.sdks import PythonSdk, SdkClient, Transport, TypeScriptSdk
from tests.e2e.stack import Stack

EXAMPLES = 6
EXAMPLES_WITH_A_KILL = 2
SETTLES_WITHIN = 15.0
"""Seconds from the end of the last fault until everything has come right; it takes one or two."""

SERVER = "server"
"""Who speaks by REST."""

BATCH = 100
"""Messages of one request, at the most."""

TRANSPORTS: tuple[Transport, ...] = ("websocket", "sse", "auto")


@dataclass(frozen=True, slots=True)
class Send:
    """A client, or REST past the proxies (None), sends so many messages at once."""

    client: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault on the way of one client, or of all."""

    client: int | None
    fault: Fault


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """The second web process is killed, and started again when everything else is over."""


@dataclass(frozen=True, slots=True)
class FollowAgain:
    """A client begins to iterate over the messages a second time."""

    client: int


Step = Send | Strike | Pause | Kill | FollowAgain


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in one run. Clients whose start is not `fair` begin without a network."""

    transports: tuple[Transport, ...]
    starts: tuple[Fault, ...]
    steps: tuple[Step, ...]
    history: int
    """So many messages are there already."""
    seed: int
    """Which web process each connection gets to."""


def plans(*, kill: bool) -> st.SearchStrategy[Plan]:
    """Runs of three clients."""
    who = st.integers(0, 2)
    faults = st.builds(Fault, st.sampled_from(NAMES), st.sampled_from(BYTES))
    sends = st.builds(Send, st.none() | who, st.integers(1, 4))
    strikes = st.builds(Strike, who | who | st.none(), faults)
    pauses = st.builds(Pause, st.sampled_from([0.0, 0.01, 0.05, 0.15, 0.4]))
    again = st.builds(FollowAgain, who)
    some = st.lists(
        sends | sends | strikes | strikes | pauses | pauses | again, min_size=15, max_size=30
    ).map(tuple)
    steps = st.tuples(some, some).map(lambda two: two[0] + (Kill(),) * kill + two[1])
    starts = st.sampled_from(
        [Fault("fair"), Fault("fair"), Fault("refusing"), Fault("swallowing"), Fault("cutting", 200)]
    )
    return st.builds(
        Plan,
        st.tuples(*[st.sampled_from(TRANSPORTS)] * 3),
        st.tuples(starts, starts, starts),
        steps,
        st.sampled_from([0, 60, 230]),
        st.integers(0, 99),
    )


def servers(stack: Stack) -> list[tuple[str, int]]:
    """Where the web processes listen."""
    parts = [urlsplit(url) for url in stack.web]
    return [(str(one.hostname), int(one.port or 0)) for one in parts]


async def say(api: Api, key: str, texts: Sequence[str]) -> None:
    """Send these by REST, past the proxies."""
    for start in range(0, len(texts), BATCH):
        messages = [{"sender_id": SERVER, "text": text} for text in texts[start : start + BATCH]]
        await api.call("POST", f"conversations/{key}/messages/batch", {"messages": messages})


class Run:
    """One plan as it is carried out."""

    def __init__(self, stack: Stack, api: Api, plan: Plan) -> None:
        self.stack = stack
        self.api = api
        self.plan = plan
        self.key = f"faults-{uuid4().hex[:12]}"
        self.clients: list[SdkClient] = []
        self.proxies: list[FaultyProxy] = []
        self.said: list[str] = []
        self._numbers = iter(range(1_000_000))

    async def carry_out(self, sdk: PythonSdk | TypeScriptSdk) -> None:
        names = [f"{self.key}-{number}" for number in range(3)]
        made = await self.api.group(self.key, *names, SERVER)
        await self._say(self.plan.history)
        async with contextlib.AsyncExitStack() as stack:
            for number, name in enumerate(names):
                proxy = await stack.enter_async_context(
                    FaultyProxy(servers(self.stack), Random(self.plan.seed + number))
                )
                self.plan.starts[number].strike(proxy)
                self.proxies.append(proxy)
                client = await sdk.open(name, proxy.url, self.key, self.plan.transports[number])
                stack.push_async_callback(client.close)
                self.clients.append(client)
            for step in self.plan.steps:
                await self._take(step)
            await self._heal()
            await self._settle()
            await self._check(made["epoch"])

    async def _take(self, step: Step) -> None:
        match step:
            case Send(None, count):
                await self._say(count)
            case Send(number, count):
                for _ in range(count):
                    self.clients[number].send(f"{number}: {next(self._numbers)}")
            case Strike(number, fault):
                for proxy in self.proxies if number is None else [self.proxies[number]]:
                    fault.strike(proxy)
            case FollowAgain(number):
                self.clients[number].follow_again()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Kill():
                await asyncio.to_thread(self.stack.kill, "web1")

    async def _say(self, count: int) -> None:
        """Send by REST, past the proxies."""
        texts = [f"rest: {next(self._numbers)}" for _ in range(count)]
        await say(self.api, self.key, texts)
        self.said += texts

    async def _heal(self) -> None:
        """From here on the network is as it should be; connections that are dead already are not told of it."""
        if not self.stack.running("web1"):
            await asyncio.to_thread(self.stack.restart, "web1")
        for proxy in self.proxies:
            proxy.weather = FAIR

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLES_WITHIN
        for client in self.clients:
            await client.until(
                lambda one=client: one.faults or not one.unresolved,
                deadline - loop.time(),
                "every send is acknowledged",
            )
        await self._say(1)
        last = len(await self.api.log(self.key))
        for client in self.clients:
            await client.until(
                lambda one=client: one.faults or one.has_seen(last),
                deadline - loop.time(),
                f"it has seen up to {last}",
            )

    async def _check(self, epoch: str) -> None:
        for client in self.clients:
            assert (client.name, client.faults, client.resets) == (client.name, [], []), self.plan
        log = await self.api.log(self.key)
        assert [one["seq"] for one in log] == list(range(1, len(log) + 1))
        texts = Counter(one["text"] for one in log)
        everything = Counter(self.said + [text for client in self.clients for text in client.sent])
        assert texts == everything, f"stored twice or lost: {(texts - everything) | (everything - texts)}"
        stored = [(one["seq"], one["id"], one["text"]) for one in log]
        place = {one["text"]: (one["seq"], one["id"]) for one in log}
        for client in self.clients:
            about = f"{client.name}: {self.plan}"
            assert [(one.seq, one.id, one.text) for one in client.seen] == stored, f"seen by {about}"
            if client.seen_again is not None:
                assert client.seen_again == client.seen, f"seen again by {about}"
            acks = {text: (ack.seq, ack.id) for text, ack in client.acks.items()}
            assert acks == {text: place[text] for text in client.sent}, f"acknowledged to {about}"
            seqs = [place[text][0] for text in client.sent]
            assert seqs == sorted(seqs), f"out of order {seqs}, of {about}"
            await self._check_state(client, epoch, len(log))

    async def _check_state(self, client: SdkClient, epoch: str, last_seq: int) -> None:
        state = await client.state()
        assert state["epoch"] == epoch
        if "seqs" in state:
            assert state["seqs"] == list(range(state["seqs"][0], last_seq + 1))
            assert (state["last_seq"], state["pending"]) == (last_seq, 0)
            told = client.told  # type: ignore[attr-defined]
            assert told == list(range(told[0], last_seq + 1)) if told else True


@pytest.fixture(scope="session")
def typescript_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript SDK as it is now."""
    build = tmp_path_factory.mktemp("typescript-sdk")
    command = [node(), ROOT / "node_modules/tsdown/dist/run.mjs", "--no-dts", "--out-dir", build]
    done = subprocess.run(
        command, cwd=ROOT / "clients/typescript", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return build


@pytest.fixture(params=["python", "typescript"])
def sdk(request: pytest.FixtureRequest) -> PythonSdk | TypeScriptSdk:
    if request.param == "python":
        return PythonSdk()
    return TypeScriptSdk(request.getfixturevalue("typescript_build"))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all examples of a test."""
    with asyncio.Runner() as running:
        yield running


@pytest.mark.parametrize("kill", [False, True], ids=["network", "network-and-kill"])
def test_everything_comes_right(
    stack: Stack, sdk: PythonSdk | TypeScriptSdk, runner: asyncio.Runner, kill: bool
) -> None:
    bounded = settings(
        max_examples=EXAMPLES_WITH_A_KILL if kill else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @bounded
    @given(plan=plans(kill=kill))
    def run(plan: Plan) -> None:
        runner.run(carry_out(plan))

    async def carry_out(plan: Plan) -> None:
        async with sdk, Api(stack.web) as api:
            await Run(stack, api, plan).carry_out(sdk)

    run()


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_what_is_read_past_a_dead_connection_is_given_once(
    stack: Stack, sdk: PythonSdk | TypeScriptSdk, runner: asyncio.Runner, transport: Transport
) -> None:
    """One who begins to iterate reads the past by REST, which may know more than a connection that is dead."""

    async def carry_out() -> None:
        async with sdk, Api(stack.web) as api, FaultyProxy(servers(stack)) as proxy:
            key = f"dead-{uuid4().hex[:12]}"
            await api.group(key, SERVER, f"{key}-reader")
            await say(api, key, [str(number) for number in range(60)])
            client = await sdk.open(f"{key}-reader", proxy.url, key, transport)
            await client.until(lambda: client.has_seen(60), 10, "the past")
            proxy.half_open()
            await say(api, key, [str(number) for number in range(60, 65)])
            client.follow_again()
            await client.until(lambda: client.has_seen(65), 10, "what was said since")
            await say(api, key, ["live"])
            await client.until(lambda: client.has_seen(66), 10, "what follows")
            assert [one.seq for one in client.seen] == list(range(1, 67))
            assert client.seen_again == client.seen
            await client.close()

    runner.run(carry_out())


async def delete(stack: Stack, key: str) -> None:
    """Delete a conversation of people with all that is in it, as the admin does."""
    of_it = "WHERE conversation_id = (SELECT id FROM conversations_conversation WHERE key = %s)"
    tables = "conversations_message", "conversations_membership", "inbox_readcursor", "inbox_mention"
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        for table in tables:
            await connection.execute(f"DELETE FROM {table} {of_it}", (key,))  # noqa: S608
        await connection.execute("DELETE FROM conversations_conversation WHERE key = %s", (key,))


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_log_that_was_replaced_meanwhile_is_read_anew(
    stack: Stack, sdk: PythonSdk | TypeScriptSdk, runner: asyncio.Runner, transport: Transport
) -> None:
    """Its seqs go further than those of the old one: only the epoch tells them apart."""
    key = f"anew-{uuid4().hex[:12]}"

    async def make(api: Api, count: int) -> str:
        made = await api.group(key, SERVER, f"{key}-reader")
        for number in range(count):
            await api.send(key, SERVER, f"{count}: {number}")
        return str(made["epoch"])

    async def carry_out() -> None:
        async with sdk, Api(stack.web) as api, FaultyProxy(servers(stack)) as proxy:
            await make(api, 3)
            client = await sdk.open(f"{key}-reader", proxy.url, key, transport)
            await client.until(lambda: len(client.seen) == 3, 10, "the first log")
            proxy.weather = Weather(refuses=True)
            proxy.cut()
            await delete(stack, key)
            epoch = await make(api, 5)
            proxy.weather = FAIR
            await client.until(lambda: client.resets and len(client.seen) == 8, 10, "the second log")
            await api.send(key, SERVER, "live")
            await client.until(lambda: client.seen[-1].text == "live", 10, "what follows")
            assert client.resets == [(epoch, 3)]
            assert [one.seq for one in client.seen] == [1, 2, 3, 1, 2, 3, 4, 5, 6]
            assert client.faults == []
            assert (await client.state())["epoch"] == epoch
            await client.close()

    runner.run(carry_out())
