"""When everyone has gone, nothing of them is left: no socket, no session, no task, nothing that waits for a search for cycles.

A server within the test, so that its objects can be counted, and the guests of the soak. `python -m bench.soak` is longer.
"""

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from prometheus_client import REGISTRY
from pytest_django import Settings

from bench import seed
from bench.drivers.churn import Churn
from fleetlm.api.event_stream import EventStream
from fleetlm.server import SocketProtocol
from fleetlm.sockets.channel import Channel
from fleetlm.sockets.consumer import Socket
from runtime.core import Runtime, current
from runtime.database import in_thread
from runtime.session import Session

SECONDS = 4.0
GUESTS = 12
GONE_SECONDS = 10.0
KEPT = (Socket, Channel, EventStream, Session)
GAUGES = (
    ("fleetlm_sockets_open", {}),
    ("fleetlm_topics_joined", {"kind": "conversation"}),
    ("fleetlm_topics_joined", {"kind": "inbox"}),
    ("fleetlm_sessions_live", {}),
    ("fleetlm_append_queue_messages", {}),
)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """A web process within this one; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        "fleetlm.asgi:application",
        http="httptools",
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  # there is no event of it
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is freed is freed because nobody refers to it any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def guests(port: int) -> dict[str, Any]:
    """A plan of the soak's, with people of this test."""
    run = uuid4().hex[:8]
    names = [f"guest-{run}-{number}" for number in range(20)]
    pairs = [(names[n % 20], names[(n * 7 + 1) % 20]) for n in range(40)]
    keys = seed.dms({tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1]})
    tokens = {name: seed.token(name) for name in names}
    people = [(token, [key for key in keys if name in key.split(":")]) for name, token in tokens.items()]
    return {
        "people": [one for one in people if one[1]],
        "owners": {token: name for name, token in tokens.items()},
        "seconds": SECONDS,
        "port": port,
        "text": "hello",
        "run": run,
    }


def gauges() -> list[float]:
    return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in GAUGES]


def kept() -> Counter[str]:
    """What of a guest there is in memory, by its type."""
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KEPT))


def tasks() -> Counter[str]:
    """Tasks by what they run; those of connections to Postgres come and go with the pool."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return Counter(name for name in names if not name.startswith(("AsyncConnectionPool", "AsyncWorker")))


async def become(what: Any, wanted: Any) -> None:
    """Return when this is as it was; fails with what it is instead."""
    deadline = asyncio.get_running_loop().time() + GONE_SECONDS
    while (found := what()) != wanted:
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"{found} instead of {wanted}")
        await asyncio.sleep(0.05)


async def churned(port: int) -> Churn:
    """Guests who have come and gone."""
    churn = Churn(await in_thread(guests, port))
    await asyncio.gather(*(churn.guest(number) for number in range(GUESTS)))
    assert churn.faults == []
    return churn


async def test_when_everyone_has_gone_nothing_of_them_is_left(
    without_collector: None, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("runtime.sessions.IDLE_SECONDS", 0.2)
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"repair_interval": 0.1})
    async with serving() as port:
        runtime = current()
        await become(lambda: tasks()["Listener._receive"], 1)
        before, running, counted = kept(), tasks(), gauges()
        churn = await churned(port)
        assert {
            "phx_join",
            "send",
            "typing",
            "read",
            "long poll",
            "event stream",
            "socket",
        } <= churn.operations.keys()
        assert churn.count > 300
        await become(gauges, counted)
        await become(lambda: tasks() - running, Counter())
        await become(lambda: kept() - before, Counter())
        assert emptied(runtime) == []


def emptied(runtime: Runtime) -> list[str]:
    """What a runtime still holds of those who have gone."""
    sessions, inboxes = runtime.sessions, runtime.inboxes
    held = {
        "sessions": sessions._sessions,
        "idle": sessions._idle_since,
        "tails": sessions._tails.bytes,
        "tails' places": sessions._tails._held,
        "inboxes": inboxes._followers,
        "dirty": inboxes._dirty,
        "stale": inboxes._stale,
        "large": inboxes._large,
    }
    return [f"{name}: {value}" for name, value in held.items() if value]
