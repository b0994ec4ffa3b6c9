"""Clients of the SDK, before the real servers and behind a network that can be broken."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from fleetlm_client import AsyncFleetLM

from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.python_sdk.watching import QUICK
from tests.e2e.stack import Stack

NewClient = Callable[..., AsyncFleetLM]


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@pytest.fixture
async def network(stack: Stack) -> AsyncIterator[FaultyProxy]:
    """What is between the clients and the first web process."""
    async with FaultyProxy([address(stack.web[0])]) as proxy:
        yield proxy


@pytest.fixture
async def client(network: FaultyProxy) -> AsyncIterator[NewClient]:
    """Makes clients; through the network if no `url` is given. They are closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        opened: list[AsyncFleetLM] = []

        def new(participant_id: str | None, **options: Any) -> AsyncFleetLM:
            options = {"url": network.url, "timing": QUICK, **options}
            opened.append(AsyncFleetLM(participant_id=participant_id, **options))
            stack.push_async_callback(opened[-1].close)
            return opened[-1]

        yield new


@pytest.fixture
def alice(fresh: str) -> str:
    return f"alice-{fresh}"


@pytest.fixture
def bob(fresh: str) -> str:
    return f"bob-{fresh}"


@pytest.fixture
def dm(alice: str, bob: str) -> str:
    return f"{alice}:{bob}"
