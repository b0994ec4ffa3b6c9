"""Runs between the processes: one relays what an agent says, others tell their sockets, and each hears everything once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.utils import timezone
from pytest_django import Settings

from agents import registration
from agents.models import DeliveryStream
from conversations.models import Conversation
from fleetlm.api.event_stream import EventAddress, EventStream
from fleetlm.auth.principal import OPEN_SERVER
from fleetlm.sockets.outbox import Outbox, QueuedOutbox
from runtime import live_runs, members, run_relay
from runtime.channel_layer import group_of
from runtime.core import Runtime
from runtime.database import in_thread
from runtime.embedded import valkey
from runtime.embedded.engine import Engine, running
from runtime.gateway import DISPATCH
from runtime.listener import Listener
from runtime.partials import Partials
from runtime.relayed_run import FRAME_BYTES
from runtime.run_relay import Run, RunRelay
from runtime.subscriber import BEHIND_BYTES
from tests.integration.live import (
    PATIENCE,
    Group,
    Recorder,
    find_view,
    make_group,
    running_runtime,
    unique,
    until,
)
from tests.integration.server import Client

Chunk = dict[str, Any]


def said(*texts: object) -> list[Chunk]:
    return [{"type": "text-delta", "id": "t", "delta": f"{text} "} for text in texts]


class Watcher(Recorder):
    """A subscriber that puts together what it is given of each run, as a client does."""

    def __init__(self, participant_id: str | None = None) -> None:
        super().__init__(participant_id)
        self.texts: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.room = asyncio.Event()
        self.room.set()

    def write(self, frame: Any) -> None:
        event, payload, _ = frame
        if event == "run" and payload["status"] == "started":
            self.texts[payload["run_id"]], self.places[payload["run_id"]] = "", 0
        elif event == "delta":
            assert payload["from"] == self.places[payload["run_id"]], "no hole, nothing twice"
            self.take(payload)
        super().write(frame)

    def take(self, told: Any) -> None:
        run_id = told["run_id"]
        self.places[run_id] = told["to"]
        self.texts[run_id] = self.texts.get(run_id, "") + "".join(c.get("delta", "") for c in told["chunks"])

    async def drained(self) -> None:
        await self.room.wait()

    def states(self, run: Run) -> list[str]:
        return [one["status"] for one in self.payloads("run") if one["run_id"] == run.run_id]

    async def until_state(self, run: Run, status: str) -> None:
        await self.until(lambda one: status in self.states(run))

    async def until_place(self, run: Run, place: int) -> None:
        await self.until(lambda one: self.places.get(run.run_id, 0) >= place)


class Talk(Group):
    """A dm with an agent, whose delivery stream a test may lease."""

    @property
    def agent(self) -> str:
        return self.people[1]


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    user, agent = unique("u"), unique("z")
    key = f"{user}:{agent}"
    await in_thread(registration.register_agent, agent, "http://127.0.0.1:9/agent")
    await in_thread(members.ensure_dm, key)
    conversation = await Conversation.objects.aget(key=key)
    yield Talk(conversation.id, key, (user, agent))
    await DeliveryStream.objects.filter(conversation_id=conversation.id).aupdate(due_at=None, lease_id=None)


@pytest.fixture
async def relay(here: Runtime) -> AsyncIterator[RunRelay]:
    """The relay of a dispatcher in the first process."""
    async with relaying(here) as relay:
        yield relay


@contextlib.asynccontextmanager
async def relaying(runtime: Runtime) -> AsyncIterator[RunRelay]:
    relay = RunRelay(runtime.publisher, runtime.partials)
    running = asyncio.create_task(relay.run())
    yield relay
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def begin(relay: RunRelay, talk: Talk, run_id: UUID | None = None) -> Run:
    return relay.open(conversation_id=talk.id, run_id=run_id or uuid4(), agent_id=talk.agent)


@sync_to_async
def lease(talk: Talk, run_id: UUID, seconds: float = 60) -> None:
    """What a dispatcher's claim leaves in Postgres."""
    streams = DeliveryStream.objects.filter(conversation_id=talk.id)
    due = timezone.now() + timedelta(seconds=seconds)
    assert streams.update(lease_id=uuid4(), run_id=run_id, due_at=due) == 1


async def joined(runtime: Runtime, talk: Talk, who: int = 0, after: int | None = None) -> Watcher:
    """A subscriber in this process, as a socket's join makes it; it hears what other processes publish."""
    watcher = Watcher(talk.people[who])
    view = await find_view(runtime.pool, talk, watcher.participant_id)
    watcher.session = session = runtime.sessions.open(view)
    session.add(watcher, view.version)
    await session.runs.ready()
    start, _ = await session.starting_point(after, None)
    for told in orjson.loads(session.runs.follow(watcher)):
        watcher.take(told)
    if start == session.last_seq:
        session.go_live(watcher)
        await hears(runtime, talk)
    return watcher


async def hears(runtime: Runtime, talk: Talk) -> None:
    """Return once this process hears what others publish in this conversation."""
    session = runtime.sessions.get(talk.id)
    assert session is not None
    probe = Recorder()
    session.add(probe, session.version)
    session.go_live(probe)
    event = {"type": "event", "event": "probe", "payload": 1, "process": "probe", "conversation": talk.id}
    async with asyncio.timeout(PATIENCE):
        while not probe.payloads("probe"):
            await get_channel_layer().group_send_many([(group_of(talk.id), event)])
            await asyncio.sleep(0.01)
    session.remove(probe)


async def test_a_plain_call_is_told_of_and_keeps_nothing(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk
) -> None:
    watchers = [await joined(here, talk), await joined(there, talk)]
    run = begin(relay, talk)
    run.finished(7)
    for watcher in watchers:
        await watcher.until_state(run, "finished")
        assert watcher.payloads("run") == [
            {
                "run_id": run.run_id,
                "agent_id": talk.agent,
                "status": status,
                "seq": seq,
                "error": None,
                "retry": False,
            }
            for status, seq in [("started", None), ("finished", 7)]
        ]
        assert watcher.payloads("typing") == [
            {"participant_id": talk.agent, "on": True},
            {"participant_id": talk.agent, "on": False},
        ]
        assert not watcher.payloads("delta")
    client = get_channel_layer().client_of(group_of(talk.id))
    assert not await client.exists(f"fleetlm:run:{run.run_id}")


async def test_what_is_streamed_reaches_every_process_before_the_end(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk
) -> None:
    watchers = [await joined(here, talk), await joined(there, talk)]
    run = begin(relay, talk)
    run.add(said(*range(5)))
    await watchers[1].until_place(run, 5)
    run.add(said(5))
    run.add(said(6, 7))
    run.finished(1)
    run.add(said("too late"))
    for watcher in watchers:
        await watcher.until_state(run, "finished")
        assert watcher.texts[run.run_id] == "0 1 2 3 4 5 6 7 "
        events = [name for name, _, _ in watcher.frames if name in ("run", "delta")]
        assert events[:3] == ["run", "run", "delta"]
        assert watcher.states(run) == ["started", "streaming", "finished"]
        assert watcher.frames[-1][0] == "typing"
        assert watcher.frames[-2][0] == "run"


@pytest.mark.parametrize("listening", [True, False], ids=["a warm session", "a cold one"])
async def test_joins_in_the_middle_get_what_was_said_and_then_the_rest(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk, listening: bool
) -> None:
    run_id, random = uuid4(), Random(5)
    await lease(talk, run_id)
    watchers = [await joined(here, talk)]
    if listening:
        watchers.append(await joined(there, talk))
    run, count = begin(relay, talk, run_id), 0
    joining: list[asyncio.Task[Watcher]] = []
    for number in range(300):
        texts = [f"{count + n}" for n in range(random.randint(1, 4))]
        count += len(texts)
        run.add(said(*texts))
        if number % 20 == 10:
            runtime = there if number % 40 == 10 else here
            joining.append(asyncio.create_task(joined(runtime, talk)))
        await asyncio.sleep(random.choice([0, 0, 0.001, 0.003]))
    watchers += await asyncio.gather(*joining)
    run.finished(1)
    text = "".join(f"{n} " for n in range(count))
    for watcher in watchers:
        await watcher.until_state(run, "finished")
        assert watcher.texts[run.run_id] == text


async def test_lost_publishes_are_made_up_for_from_valkey(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk
) -> None:
    watcher, other = await joined(there, talk), await joined(here, talk)
    run = begin(relay, talk)
    run.add(said(0, 1))
    await watcher.until_place(run, 2)
    there.listener.unfollow(group_of(talk.id))
    await until(lambda: group_of(talk.id) not in there.listener._followed)
    run.add(said(2, 3, 4))
    await other.until_place(run, 5)
    there.listener.follow(group_of(talk.id))
    await hears(there, talk)
    assert watcher.places[run.run_id] == 2
    run.add(said(5))
    await watcher.until_place(run, 6)
    assert watcher.texts[run.run_id] == "0 1 2 3 4 5 "


async def test_a_beat_shows_what_was_lost_and_keeps_a_silent_run_alive(
    here: Runtime, there: Runtime, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_relay, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(live_runs, "SILENCE_SECONDS", 0.5)
    watcher = await joined(there, talk)
    async with relaying(here) as relay:
        run = begin(relay, talk)
        await watcher.until_state(run, "started")
        await asyncio.sleep(0.8)
        assert watcher.states(run) == ["started"]
        run.add(said(0))
        await watcher.until_place(run, 1)
        await asyncio.sleep(0.8)
        assert watcher.states(run) == ["started", "streaming"]
    # The dispatcher has died.
    await watcher.until_state(run, "failed")
    assert watcher.payloads("run")[-1] == {
        "run_id": run.run_id,
        "agent_id": talk.agent,
        "status": "failed",
        "seq": None,
        "error": "lost",
        "retry": True,
    }
    assert watcher.payloads("typing")[-1] == {"participant_id": talk.agent, "on": False}


async def test_the_run_of_a_dead_dispatcher_ends_and_the_next_one_is_another(
    here: Runtime, there: Runtime, talk: Talk
) -> None:
    watcher, first, second = await joined(there, talk), uuid4(), uuid4()
    async with relaying(here) as relay:
        dead = begin(relay, talk, first)
        dead.add(said("half", "an"))
        await watcher.until_place(dead, 2)
    async with relaying(there) as relay:
        relay.lost(conversation_id=talk.id, run_id=first, agent_id=talk.agent, cancelled=False)
        run = begin(relay, talk, second)
        run.add(said("whole"))
        run.finished(1)
        await watcher.until_state(run, "finished")
    await watcher.until_state(dead, "failed")
    assert watcher.states(dead) == ["started", "streaming", "failed"]
    assert watcher.texts == {dead.run_id: "half an ", run.run_id: "whole "}
    client = get_channel_layer().client_of(group_of(talk.id))
    assert await client.ttl(f"fleetlm:run:{dead.run_id}") <= 30


async def test_a_slow_subscriber_holds_nobody_up_and_gets_fewer_chunks(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk
) -> None:
    slow, fast = await joined(there, talk), await joined(there, talk)
    run = begin(relay, talk)
    run.add(said("first"))
    await slow.until_place(run, 1)
    slow.behind = True
    slow.room.clear()
    for number in range(50):
        run.add(said(number))
        await fast.until_place(run, number + 2)
    assert slow.places[run.run_id] == 1
    await here.gateway.append(talk.request("a message is not held back"))
    await slow.until_seq(1)
    slow.behind = False
    slow.room.set()
    await slow.until_place(run, 51)
    assert [len(one["chunks"]) for one in slow.payloads("delta")] == [1, 1]
    assert slow.texts == fast.texts
    run.add(said("last"))
    await slow.until_place(run, 52)
    await fast.until_place(run, 52)
    assert slow.payloads("delta")[-1] == fast.payloads("delta")[-1]


async def test_a_long_replay_misses_nothing_of_a_run(
    here: Runtime, there: Runtime, relay: RunRelay, talk: Talk
) -> None:
    await asyncio.gather(*[here.gateway.append(talk.request(str(n))) for n in range(300)])
    first = begin(relay, talk)
    await lease(talk, UUID(first.run_id))
    first.add(said(0))
    fast = await joined(there, talk)
    second = begin(relay, talk)
    first.add(said(1))
    await fast.until_place(first, 2)
    watcher = await joined(there, talk, after=0)
    assert watcher.texts[first.run_id] == "0 1 "
    watcher.room.clear()
    assert watcher.session is not None
    replay = asyncio.create_task(watcher.session.follow(watcher, 0))
    await watcher.until(lambda one: one.seqs)
    first.add(said(2))
    first.finished(301)
    third = begin(relay, talk)
    third.add(said("third"))
    await fast.until_place(third, 1)
    await watcher.until_place(third, 1)
    assert watcher.states(first) == ["finished"]
    assert watcher.texts[first.run_id] == "0 1 2 "
    assert len(watcher.seqs) < 300
    watcher.room.set()
    await replay
    third.finished(None)
    second.failed("no", retry=False)
    for run, status in ((third, "finished"), (second, "failed")):
        await watcher.until_state(run, status)
        assert watcher.states(run).count(status) == 1
    await watcher.until_seq(300)


async def test_who_is_removed_hears_no_more_of_a_run(here: Runtime, there: Runtime, relay: RunRelay) -> None:
    group = await make_group(3)
    talk = Talk(group.id, group.key, group.people)
    watcher, other = await joined(there, talk), await joined(there, talk, 1)
    run = begin(relay, talk)
    run.add(said(0))
    await watcher.until_place(run, 1)
    await in_thread(members.remove, talk.key, talk.people[0])
    session = there.sessions.get(talk.id)
    assert session is not None
    session.note_version(session.version + 1)
    run.add(said("secret"))
    await other.until_place(run, 2)
    assert watcher.ended == "removed"
    assert watcher.places[run.run_id] == 1


@pytest.fixture
def other_valkey(tmp_path: Path, settings: Settings) -> Engine:
    """A Valkey of this test's own, which is not running yet, and a channel layer that leads there."""
    engine = valkey.prepare(tmp_path / "valkey")
    layer = settings.CHANNEL_LAYERS["default"]
    hosts = [layer["CONFIG"]["hosts"][0] | {"address": engine.url}]
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": layer["CONFIG"] | {"hosts": hosts}}}
    return engine


async def test_what_is_said_while_valkey_is_away_comes_when_it_is_back(
    other_valkey: Engine, talk: Talk
) -> None:
    texts = [f"{number:08}" for number in range(3 * FRAME_BYTES // 50)]
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, running(other_valkey))
        async with running_runtime() as here, relaying(here) as relay:
            watcher = await joined(here, talk)
            run, over = begin(relay, talk), begin(relay, talk)
            run.add(said("before"))
            over.add(said("kept"))
            await watcher.until_place(run, 1)
            await watcher.until_place(over, 1)
            await asyncio.to_thread(stack.close)
            run.add(said("lost"))
            await until(lambda: not relay._healthy)
            for text in texts:
                run.add(said(text))
            over.add(said("dropped"))
            over.finished(1)
            assert watcher.places[run.run_id] == 1
            await asyncio.to_thread(stack.enter_context, running(other_valkey))
            await watcher.until_state(over, "finished")
            await watcher.until_place(run, len(texts) + 2)
            assert watcher.texts[run.run_id] == " ".join(["before", "lost", *texts, ""])
            assert watcher.places[over.run_id] == 1
            run.finished(2)
            await watcher.until_state(run, "finished")


async def test_a_join_without_valkey_has_the_run_though_not_its_words(
    other_valkey: Engine, talk: Talk, settings: Settings
) -> None:
    run_id = uuid4()
    await lease(talk, run_id)
    async with running_runtime() as here:
        watcher = Watcher(talk.people[0])
        session = here.sessions.open(await find_view(here.pool, talk, watcher.participant_id))
        await session.runs.ready()
        [told] = orjson.loads(session.runs.follow(watcher))
        assert told == {
            "run_id": str(run_id),
            "agent_id": talk.agent,
            "status": "started",
            "to": 0,
            "chunks": [],
        }


async def test_a_run_of_a_lease_that_ran_out_is_none(here: Runtime, talk: Talk) -> None:
    await lease(talk, uuid4(), seconds=-1)
    session = here.sessions.open(await find_view(here.pool, talk))
    await session.runs.ready()
    assert session.runs.follow(Watcher()) == b"[]"


async def test_a_stopping_relay_says_its_last_words(here: Runtime, there: Runtime, talk: Talk) -> None:
    watcher = await joined(there, talk)
    async with relaying(here) as relay:
        run = begin(relay, talk)
        await watcher.until_state(run, "started")
        run.add(said("the end"))
        run.failed("stopped", retry=True)
    await watcher.until_state(run, "failed")
    assert watcher.texts[run.run_id] == "the end "


async def test_a_chunk_that_cannot_be_written_harms_nobody(
    here: Runtime, relay: RunRelay, talk: Talk
) -> None:
    watcher = await joined(here, talk)
    run, other = begin(relay, talk), begin(relay, talk)
    run.add([{"type": "data-x", "data": 10**30}])
    run.add([{"type": "data-x", "data": object()}])
    other.add(said("fine"))
    await watcher.until_place(run, 1)
    await watcher.until_place(other, 1)
    run.finished(1)
    await watcher.until_state(run, "finished")


class Stuck:
    """A transport whose peer takes nothing."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self.bytes += len(data)

    def unsent(self) -> int:
        return self.bytes

    async def room(self) -> None: ...

    def abort(self) -> None: ...


async def test_every_way_out_knows_when_it_is_behind() -> None:
    async def never(event: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    limit = 16 * BEHIND_BYTES
    stuck = Outbox(Stuck(), limit, lambda: None)
    queued = QueuedOutbox(never, limit, lambda: None)
    stream = EventStream(OPEN_SERVER, EventAddress(None), asyncio.Event())
    for way, frame in ((stuck, b"x" * 1024), (queued, "x" * 1024), (stream, b"x" * 1024)):
        for _ in range(BEHIND_BYTES // 1024):
            way.write(frame)  # type: ignore[arg-type]
        assert not way.behind
        way.write(frame)  # type: ignore[arg-type]
        assert way.behind
    assert queued._writer is not None
    queued._writer.cancel()


# The surface: sockets, event streams and REST of the web process.


async def test_a_join_an_event_stream_and_rest_show_the_run_so_far(
    api: Client, relay: RunRelay, talk: Talk
) -> None:
    run_id = uuid4()
    await lease(talk, run_id)
    run = begin(relay, talk, run_id)
    run.add([{"type": "text-start", "id": "t"}, *said("so", "far")])
    await until_kept(talk, run, 3)
    expected = {
        "run_id": run.run_id,
        "agent_id": talk.agent,
        "status": "streaming",
        "to": 3,
        "chunks": [{"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "so far "}],
    }
    loop = asyncio.get_running_loop()

    def go_on() -> None:
        loop.call_soon_threadsafe(run.add, said("and on"))

    def look() -> None:
        user = api.token(talk.people[0])
        assert user.ok("GET", f"/api/conversations/{talk.key}/runs") == {"runs": [expected]}
        with user.socket() as socket, user.events(f"/api/conversations/{talk.key}/events") as events:
            assert socket.join(f"conversation:{talk.key}")["runs"] == [expected]
            name, ready, _ = events.next()
            assert (name, ready["runs"]) == ("ready", [expected])
            types = {"participant_id": talk.agent, "on": True}
            assert socket.wait_for("typing") == types
            assert events.next()[:2] == ("typing", types)
            go_on()
            delta = {"run_id": run.run_id, "from": 3, "to": 4, "chunks": said("and on")}
            assert socket.wait_for("delta") == delta
            assert events.next()[:2] == ("delta", delta)
            loop.call_soon_threadsafe(run.cancelled, 2)
            assert socket.wait_for("run")["status"] == "cancelled"
            assert events.next()[1]["seq"] == 2

    await asyncio.to_thread(look)


async def until_kept(talk: Talk, run: Run, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(await Partials().read(talk.id, run.run_id)) < count:  # noqa: ASYNC110  # Valkey tells nobody
            await asyncio.sleep(0.01)


async def test_a_member_cancels_a_run(api: Client, talk: Talk) -> None:
    hints, followed = list[Any](), asyncio.Event()

    async def on_followed() -> None:
        followed.set()

    listener = Listener({"dispatch.cancel": hints.append, "dispatch.due": lambda hint: None})
    listener.start()
    listener.follow(DISPATCH, on_followed)
    await asyncio.wait_for(followed.wait(), PATIENCE)
    path = f"/api/conversations/{talk.key}/runs"
    first, second = uuid4(), uuid4()

    def by_socket() -> None:
        with api.token(talk.people[0]).socket() as socket:
            socket.join(topic := f"conversation:{talk.key}")
            assert socket.ok(topic, "cancel", {"run_id": str(first)}) == {"run_id": str(first)}
            for wrong in (str(uuid4()), "nonsense", ""):
                assert socket.refusal(topic, "cancel", {"run_id": wrong}) == "run_not_found"
            assert socket.refusal(topic, "cancel", {"run_id": 5}) == "invalid_request"

    def by_rest() -> None:
        user = api.token(talk.people[0])
        answer = user.post(f"{path}/{second}/cancel")
        assert (answer.status, answer.json) == (202, {"run_id": str(second)})
        assert api.post(f"{path}/{second}/cancel").status == 202
        assert user.post(f"{path}/{uuid4()}/cancel").verdict == (404, "run_not_found")
        assert user.post(f"{path}/nonsense/cancel").verdict == (404, "run_not_found")
        assert api.token(unique()).post(f"{path}/{second}/cancel").verdict == (403, "not_a_member")
        assert api.token(unique()).get(path).verdict == (403, "not_a_member")

    for run_id, act in ((first, by_socket), (second, by_rest)):
        await lease(talk, run_id)
        await asyncio.to_thread(act)
        stream = await DeliveryStream.objects.aget(conversation_id=talk.id)
        assert stream.cancel_run_id == run_id
        await until(lambda run_id=run_id: any(hint["run_id"] == str(run_id) for hint in hints))
    await listener.stop()
