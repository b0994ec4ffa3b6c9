"""How long a program's chat waits for agents."""

import asyncio
from typing import Any

import pytest

from runtime.client import answers
from runtime.client.answers import Answers

AGENT = "echo-bot"


def joined(*agents: str, runs: tuple[str, ...] = ()) -> dict[str, Any]:
    members = [{"id": "alice", "kind": "user"}, *({"id": agent, "kind": "agent"} for agent in agents)]
    return {"members": members, "runs": [{"run_id": run} for run in runs]}


def run(run_id: str, status: str) -> dict[str, Any]:
    return {"run_id": run_id, "agent_id": AGENT, "status": status}


def following(*agents: str, runs: tuple[str, ...] = ()) -> Answers:
    followed = Answers("alice")
    followed.watch("join", joined(*agents, runs=runs))
    return followed


async def seconds(followed: Answers, monkeypatch: pytest.MonkeyPatch, **limits: float) -> float:
    """How long it waits for what comes after the seq 3, with these limits instead of its own."""
    for name, value in limits.items():
        monkeypatch.setattr(answers, f"{name.upper()}_SECONDS", value)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await followed.settle(after=3)
    return loop.time() - began


ENDLESS = 100.0
"""Whoever waits so long fails the test by the limit of the whole run."""


async def test_where_no_agent_is_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Answers(AGENT)
    own.watch("join", joined(AGENT))
    for alone in (following(), own):
        assert await seconds(alone, monkeypatch, silence=ENDLESS) < 10


async def test_an_agent_that_says_nothing_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.2 <= await seconds(following(AGENT), monkeypatch, silence=0.2, quiet=ENDLESS) < 10


async def test_an_answer_that_was_there_before_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = following(AGENT)
    followed.shown({"sender_id": AGENT, "seq": 2})
    assert await seconds(followed, monkeypatch, silence=0.2, quiet=0.0) >= 0.2


async def test_after_an_answer_it_is_quiet_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = following(AGENT)
    asyncio.get_running_loop().call_later(0.1, followed.shown, {"sender_id": AGENT, "seq": 4})
    assert 0.15 <= await seconds(followed, monkeypatch, silence=ENDLESS, quiet=0.05) < 10


async def test_an_answer_that_is_being_written_is_waited_for_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = following(AGENT, runs=("r1",))
    asyncio.get_running_loop().call_later(0.3, followed.watch, "run", run("r1", "finished"))
    asyncio.get_running_loop().call_later(0.3, followed.shown, {"sender_id": AGENT, "seq": 4})
    assert 0.35 <= await seconds(followed, monkeypatch, silence=0.0, quiet=0.05) < 10
    followed.watch("run", run("r2", "streaming"))
    assert 0.3 <= await seconds(followed, monkeypatch, silence=0.0, quiet=0.0, longest=0.3) < 10
