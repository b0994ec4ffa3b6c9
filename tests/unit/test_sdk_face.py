"""The Python SDK's face: both clients have the same methods, and importing it costs nothing."""

import inspect
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import fleetlm_client
import pytest
from fleetlm_client import AsyncConversation, AsyncFleetLM, Conversation, FleetLM

PAIRS = [(AsyncFleetLM, FleetLM), (AsyncConversation, Conversation)]
WRITTEN_APART = {"conversation", "close"}
"""Those that give or end what differs."""


def methods(of: type[Any]) -> dict[str, Callable[..., Any]]:
    return {
        name: one for name, one in vars(of).items() if inspect.isfunction(one) and not name.startswith("_")
    }


@pytest.mark.parametrize(("asynchronous", "blocking"), PAIRS)
def test_what_can_be_awaited_can_be_waited_for(asynchronous: type[Any], blocking: type[Any]) -> None:
    assert methods(asynchronous).keys() == methods(blocking).keys()
    for name in methods(asynchronous).keys() - WRITTEN_APART:
        over, under = methods(asynchronous)[name], methods(blocking)[name]
        assert inspect.unwrap(under) is over
        assert inspect.signature(under) == inspect.signature(over)
        assert under.__doc__ == over.__doc__
        assert inspect.isgeneratorfunction(under) == inspect.isasyncgenfunction(over)
    told = {name for name, one in vars(asynchronous).items() if isinstance(one, property)}
    assert told <= vars(blocking).keys()


def test_both_are_made_alike() -> None:
    assert inspect.signature(AsyncFleetLM) == inspect.signature(FleetLM)
    assert AsyncGenerator.__name__ in str(inspect.signature(AsyncConversation.messages).return_annotation)


def test_all_that_is_named_can_be_imported() -> None:
    assert dir(fleetlm_client) == sorted(fleetlm_client.__all__)
    for name in fleetlm_client.__all__:
        assert getattr(getattr(fleetlm_client, name), "__name__", "Event") == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fleetlm_client.nonsense


def test_importing_it_imports_nothing() -> None:
    look = (
        "import sys, fleetlm_client; print({'httpx', 'websockets', 'anyio', 'asyncio'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", look], text=True) == "set()\n"
