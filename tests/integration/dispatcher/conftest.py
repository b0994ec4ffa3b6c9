"""What the tests of the dispatcher start from: short times, a process, an agent, a conversation."""

from collections.abc import AsyncIterator

import pytest
from pytest_django import Settings

from runtime.core import Runtime
from tests.integration.dispatcher.dispatching import Agent, Talk, answer, begin, serving_agent
from tests.integration.streams import retire_other_streams


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(
        update={
            "agent_retry_schedule": [0.01],
            "breaker_failures": 0,
            "agent_timeout": 0.5,
            "dispatch_lease": 1.0,
            "dispatch_poll": 0.02,
            "drain_seconds": 0.2,
        }
    )


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    await retire_other_streams()
    runtime = Runtime()
    await runtime.start()
    yield runtime
    await runtime.stop()


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    """An agent that accepts what it gets."""
    async with serving_agent(answer(204)) as agent:
        yield agent


@pytest.fixture
async def talk(runtime: Runtime, agent: Agent) -> Talk:
    return await begin(runtime, agent)
