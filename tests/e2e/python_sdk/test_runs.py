"""Streamed answers: told as they grow, with no hole, whenever one joins and whatever is lost."""

import asyncio
import itertools
from uuid import uuid4

import pytest
from fleetlm_client import DeltaEvent, FleetLMError, Joined, RunEvent, StatusEvent

from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.python_sdk.conftest import NewClient
from tests.e2e.python_sdk.watching import Watcher
from tests.e2e.rest import Api
from tests.e2e.streaming_agent import streaming_agent

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


async def register(api: Api, fresh: str, url: str) -> str:
    await api.call("POST", "agents", {"id": f"agent-{fresh}", "url": url})
    return f"agent-{fresh}"


@TRANSPORTS
async def test_an_answer_is_joined_in_the_middle_and_survives_losses(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, fresh: str, transport: str
) -> None:
    async with streaming_agent() as agent:
        name = await register(api, fresh, agent.url)
        conversation = client(alice, transport=transport).conversation(f"{alice}:{name}")
        async with Watcher(conversation, after=0) as early:
            await early.joined()
            await conversation.send("speak")
            call = await agent.call()
            call.say("Once ")
            call.say("upon ")
            await early.until(lambda: early.streamed() == "Once upon ")
            async with Watcher(client(alice, transport=transport).conversation(f"{alice}:{name}")) as late:
                await late.until(lambda: late.streamed() == "Once upon ")
                assert late.of(Joined)[0].runs[0].text == "Once upon "
                assert not late.of(DeltaEvent)
                network.cut()
                await early.until(lambda: early.of(StatusEvent))
                call.say("a time ")
                await early.joined(2)
                call.say("there was.")
                for watcher in (early, late):
                    await watcher.until(lambda w=watcher: w.streamed() == "Once upon a time there was.")
                call.end()
                for watcher in (early, late):
                    await watcher.until(lambda w=watcher: w.texts[-1:] == ["Once upon a time there was."])
                    await watcher.until(lambda w=watcher: not w.of(RunEvent)[-1].run.live)
    last = early.of(DeltaEvent)[-1].run
    assert (last.text, last.agent_id) == ("Once upon a time there was.", name)
    places = [(delta.start, delta.to) for delta in early.of(DeltaEvent)]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(places))
    assert early.messages[-1].content["run_id"] == last.run_id
    assert [event.run.status for event in early.of(RunEvent)][:2] == ["started", "streaming"]


@TRANSPORTS
async def test_one_who_was_away_at_the_end_is_told_that_it_is_over(
    api: Api, network: FaultyProxy, client: NewClient, alice: str, fresh: str, transport: str
) -> None:
    async with streaming_agent() as agent:
        name = await register(api, fresh, agent.url)
        conversation = client(alice, transport=transport).conversation(f"{alice}:{name}")
        async with (
            Watcher(conversation, after=0) as watcher,
            Watcher(client(alice, url=api.web[1]).conversation(conversation.key)) as present,
        ):
            await watcher.joined()
            await present.joined()
            await conversation.send("speak")
            call = await agent.call()
            call.say("Gone in a moment.")
            await watcher.until(lambda: watcher.streamed())
            network.half_open()
            call.end()
            await present.until(lambda: present.texts[-1:] == ["Gone in a moment."])
            await watcher.until(lambda: watcher.texts[-1:] == ["Gone in a moment."])
            await watcher.until(lambda: not watcher.of(RunEvent)[-1].run.live)
    assert watcher.seqs == [1, 2]


@TRANSPORTS
async def test_a_run_is_cancelled(
    api: Api, client: NewClient, alice: str, fresh: str, transport: str
) -> None:
    async with streaming_agent() as agent:
        name = await register(api, fresh, agent.url)
        conversation = client(alice, transport=transport).conversation(f"{alice}:{name}")
        async with Watcher(conversation, after=0) as watcher:
            await watcher.joined()
            await conversation.send("speak")
            call = await agent.call()
            call.say("I could go on and")
            await watcher.until(lambda: watcher.streamed() == "I could go on and")
            run_id = watcher.of(RunEvent)[-1].run.run_id
            await conversation.cancel(run_id)
            async with asyncio.timeout(10):
                await call.hung_up.wait()
            await watcher.until(lambda: watcher.of(RunEvent)[-1].run.status == "cancelled")
            await watcher.until(lambda: len(watcher.texts) == 2)
    assert watcher.texts[-1] == "I could go on and"
    assert watcher.messages[-1].content["status"] == "cancelled"
    assert watcher.of(RunEvent)[-1].run.seq == watcher.messages[-1].seq
    with pytest.raises(FleetLMError) as over:
        await conversation.cancel(str(uuid4()))
    assert over.value.code == "run_not_found"
