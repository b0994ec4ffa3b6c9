"""How long a program's chat waits for agents."""

import asyncio

from fleetlm_client.cli.answers import Answers, Patience
from fleetlm_client.records import Member, Run

AGENT = "echo-bot"
ENDLESS = 100.0
"""Whoever waits so long fails the test by the limit of the whole run."""


def following(*agents: str, me: str = "alice", runs: tuple[str, ...] = (), **patience: float) -> Answers:
    followed = Answers(me, Patience(**patience))
    members = [Member("alice"), *(Member(agent, "agent") for agent in agents)]
    followed.joined(members, [Run(one, AGENT) for one in runs])
    return followed


async def seconds(followed: Answers) -> float:
    """How long it waits for what comes after the seq 3."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await followed.settle(after=3)
    return loop.time() - began


async def test_where_no_agent_is_nobody_is_waited_for() -> None:
    for alone in (following(silence=ENDLESS), following(AGENT, me=AGENT, silence=ENDLESS)):
        assert await seconds(alone) < 10


async def test_an_agent_that_says_nothing_is_waited_for_a_while() -> None:
    assert 0.2 <= await seconds(following(AGENT, silence=0.2, quiet=ENDLESS)) < 10


async def test_an_answer_that_was_there_before_is_none() -> None:
    followed = following(AGENT, silence=0.2, quiet=0.0)
    followed.shown(AGENT, 2)
    assert await seconds(followed) >= 0.2
    assert not await followed.settle(after=3)


async def test_after_an_answer_it_is_quiet_soon() -> None:
    followed = following(AGENT, silence=ENDLESS, quiet=0.05)
    asyncio.get_running_loop().call_later(0.1, followed.shown, AGENT, 4)
    assert 0.15 <= await seconds(followed) < 10
    assert await followed.settle(after=3)


async def test_an_answer_that_is_being_written_is_waited_for_but_not_for_ever() -> None:
    followed = following(AGENT, runs=("r1",), silence=0.0, quiet=0.05)
    asyncio.get_running_loop().call_later(0.3, followed.run, Run("r1", AGENT, "finished"))
    asyncio.get_running_loop().call_later(0.3, followed.shown, AGENT, 4)
    assert 0.35 <= await seconds(followed) < 10
    endless = following(AGENT, runs=("r2",), silence=0.0, quiet=0.0, longest=0.3)
    assert 0.3 <= await seconds(endless) < 10
