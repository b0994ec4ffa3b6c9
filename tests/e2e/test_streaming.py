"""Answers that grow before people's eyes: whoever watches, from wherever, and whatever breaks, sees each word once."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from tests.e2e.event_stream import EventStream, event_stream
from tests.e2e.phoenix import Channel, Phoenix, PushFailed, Witness
from tests.e2e.rest import Api
from tests.e2e.stack import Stack
from tests.e2e.streaming_agent import Agent, Call, streaming_agent

GOING_ON = {"started", "streaming"}


class Screen:
    """What a client makes of the events that it got: the runs under way, those that ended, and how."""

    def __init__(self, events: Iterable[tuple[str, Any]]) -> None:
        self.now: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        for event, payload in events:
            self._take(event, payload)

    def _take(self, event: str, payload: Any) -> None:
        joined = payload.get("response") if event == "phx_reply" else payload if event == "ready" else None
        if isinstance(joined, dict) and "runs" in joined:
            self.now.clear()
            for run in joined["runs"]:
                self.now[run["run_id"]], self.places[run["run_id"]] = "", 0
                self._say(run)
        elif event == "delta":
            assert payload["from"] == self.places[payload["run_id"]], "no hole, nothing twice"
            self._say(payload)
        elif event == "run" and payload["status"] == "started":
            assert payload["run_id"] not in self.places
            self.now[payload["run_id"]], self.places[payload["run_id"]] = "", 0
        elif event == "run" and payload["status"] not in GOING_ON:
            self.now.pop(payload["run_id"], None)
            self.ended[payload["run_id"]] = payload["status"]

    def _say(self, told: Any) -> None:
        run_id = told["run_id"]
        assert run_id in self.now, "nothing comes after the end"
        self.now[run_id] += "".join(chunk.get("delta", "") for chunk in told["chunks"])
        self.texts[run_id] = self.now[run_id]
        self.places[run_id] = told["to"]


def screen(witness: Witness) -> Screen:
    return Screen(witness.events)


async def shows(witness: Witness, text: str) -> None:
    """Wait until a run under way has said this."""
    await witness.until(lambda: text in screen(witness).now.values())


async def ended(witness: Witness, status: str, number: int = 1) -> Any:
    """Wait until so many runs have ended so; the last one's event."""

    def ends() -> list[Any]:
        return [run for run in witness.payloads("run") if run["status"] == status]

    await witness.until(lambda: len(ends()) >= number)
    return ends()[-1]


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with streaming_agent() as agent:
        yield agent


class Talk:
    """Alice and an agent of this test's own."""

    def __init__(self, api: Api, agent: Agent, fresh: str) -> None:
        self.api = api
        self.agent = agent
        self.alice, self.bot = f"alice-{fresh}", f"bot-{fresh}"
        self.key = f"{self.alice}:{self.bot}"
        self.topic = f"conversation:{self.key}"

    async def register(self, **form: Any) -> None:
        await self.api.call("POST", "agents", {"id": self.bot, "url": self.agent.url, **form})

    async def ask(self, text: str) -> Call:
        await self.api.send(self.key, self.alice, text)
        return await self.agent.call()

    async def watch(self, phoenix: Phoenix, url: str) -> Channel:
        return await (await phoenix.connect(url, participant_id=self.alice)).join(self.topic)


@pytest.fixture
async def talk(stack: Stack, api: Api, agent: Agent, fresh: str) -> Talk:
    talk = Talk(api, agent, fresh)
    await talk.register()
    return talk


async def test_a_client_that_comes_back_elsewhere_in_the_middle_sees_each_word_once(
    stack: Stack, phoenix: Phoenix, talk: Talk
) -> None:
    socket = await phoenix.connect(stack.web[0], participant_id=talk.alice)
    moving = await socket.join(talk.topic)
    steady = await talk.watch(phoenix, stack.web[1])
    call = await talk.ask("Tell me a story.")
    for word in ("Once ", "upon ", "a time "):
        call.say(word)
    await asyncio.gather(shows(moving, "Once upon a time "), shows(steady, "Once upon a time "))
    for number, web in enumerate((1, 0, 1)):
        await socket.drop()
        call.say(f"{number} ")
        await socket.reconnect(stack.web[web])
        call.say("and ")
        await moving.until(lambda number=number: len(moving.joins) == number + 2)
    text = "Once upon a time 0 and 1 and 2 and "
    await asyncio.gather(shows(moving, text), shows(steady, text))
    late = await talk.watch(phoenix, stack.web[0])
    await shows(late, text)
    call.say("they lived.")
    call.end()
    for channel in (moving, steady, late):
        message = await channel.seq(2)
        run = await ended(channel, "finished")
        assert message["text"] == text + "they lived."
        assert message["content"]["run_id"] == run["run_id"]
        assert run["seq"] == 2
        assert screen(channel).texts == {run["run_id"]: message["text"]}
        assert channel.seqs == [1, 2] if channel is not late else [2]


async def test_a_socket_that_is_cut_while_it_joins_is_no_fault(
    stack: Stack, phoenix: Phoenix, talk: Talk
) -> None:
    sizes = stack.log_sizes()
    for _ in range(10):
        socket = await phoenix.connect(stack.web[0], participant_id=talk.alice)
        joining = asyncio.create_task(socket.join(talk.topic))
        await asyncio.sleep(0)
        await socket.drop()
        joining.cancel()
    await (await talk.watch(phoenix, stack.web[0])).leave()
    assert "Traceback" not in stack.members["web0"].tail(sizes["web0"])


async def test_an_event_stream_shows_the_run_so_far_and_the_rest(stack: Stack, talk: Talk, curl: str) -> None:
    url = f"{stack.web[1]}/api/conversations/{talk.key}/events"
    call = await talk.ask("hello")
    call.say("so far ")
    async with event_stream(url) as first, event_stream(url) as second:
        for stream in (first, second):
            await shows(stream, "so far ")
        call.say("and the rest")
        call.end()
        for stream in (first, second):
            run = await ended(stream, "finished")
            assert (await stream.seq(2))["text"] == "so far and the rest"
            assert screen(stream).texts == {run["run_id"]: "so far and the rest"}
            _no_place_of_a_run(stream)


def _no_place_of_a_run(stream: EventStream) -> None:
    assert stream.last_id.endswith(":2"), "only messages can be resumed from"


async def test_a_run_is_cancelled_and_what_was_said_is_kept(
    stack: Stack, phoenix: Phoenix, api: Api, talk: Talk
) -> None:
    channel, other = await talk.watch(phoenix, stack.web[0]), await talk.watch(phoenix, stack.web[1])
    call = await talk.ask("Count to a million.")
    call.say("One, two")
    await shows(channel, "One, two")
    [run] = (await api.call("GET", f"conversations/{talk.key}/runs", web=1))["runs"]
    assert (run["agent_id"], run["status"]) == (talk.bot, "streaming")
    assert await channel.push("cancel", {"run_id": run["run_id"]}) == {"run_id": run["run_id"]}
    await asyncio.wait_for(call.hung_up.wait(), 3)
    for one in (channel, other):
        message = await one.seq(2)
        end = await ended(one, "cancelled")
        assert (message["text"], message["content"]["status"]) == ("One, two", "cancelled")
        assert (end["run_id"], end["seq"], message["content"]["run_id"]) == (run["run_id"], 2, run["run_id"])
    with pytest.raises(PushFailed, match="run_not_found"):
        await channel.push("cancel", {"run_id": run["run_id"]})
    assert (await api.call("GET", f"conversations/{talk.key}/runs"))["runs"] == []
    # It is not called again for that, but for what comes next.
    call = await talk.ask("Thank you.")
    assert call.new == ["Thank you."]
    call.say("Bye.")
    call.end()
    assert (await channel.seq(4))["text"] == "Bye."


async def test_a_new_message_interrupts_an_agent_that_wants_it(
    stack: Stack, phoenix: Phoenix, api: Api, agent: Agent, fresh: str
) -> None:
    talk = Talk(api, agent, fresh)
    await talk.register(while_running="interrupt")
    channel = await talk.watch(phoenix, stack.web[1])
    first = await talk.ask("Tell me of Rome.")
    first.say("Rome was")
    await shows(channel, "Rome was")
    second = await talk.ask("No, of Athens.")
    await asyncio.wait_for(first.hung_up.wait(), 3)
    assert "No, of Athens." in second.new
    second.say("Athens is")
    second.end()
    await ended(channel, "finished")
    kept = next(m for m in channel.log if m["content"].get("status") == "interrupted")
    assert kept["text"] == "Rome was"
    assert channel.log[-1]["text"] == "Athens is"
    assert sorted(screen(channel).texts.values()) == ["Athens is", "Rome was"]
    assert screen(channel).now == {}


async def test_two_answers_are_never_glued_together_when_a_dispatcher_dies(
    stack: Stack, phoenix: Phoenix, talk: Talk
) -> None:
    channels = [await talk.watch(phoenix, url) for url in stack.web]
    first = await talk.ask("hello")
    first.say("Half of an ans")
    for channel in channels:
        await shows(channel, "Half of an ans")
    stack.kill("dispatcher")
    stack.restart("dispatcher")
    second = await talk.agent.call()
    assert second.body["id"] == first.body["id"], "the same call"
    assert second.body["run_id"] != first.body["run_id"]
    second.say("A whole answer.")
    for channel in channels:
        await shows(channel, "A whole answer.")
        lost = await ended(channel, "failed")
        assert (lost["run_id"], lost["retry"], lost["seq"]) == (first.body["run_id"], True, None)
    second.end()
    for channel in channels:
        assert (await channel.seq(2))["text"] == "A whole answer."
        await ended(channel, "finished")
        assert screen(channel).texts == {
            first.body["run_id"]: "Half of an ans",
            second.body["run_id"]: "A whole answer.",
        }


async def test_an_agent_types_while_it_works(stack: Stack, phoenix: Phoenix, talk: Talk) -> None:
    channel = await talk.watch(phoenix, stack.web[1])
    call = await talk.ask("hello")
    await channel.until(lambda: {"participant_id": talk.bot, "on": True} in channel.payloads("typing"))
    await asyncio.sleep(7)  # longer than a typing lasts that is not renewed
    assert len(channel.payloads("typing")) == 1
    call.say("done")
    call.end()
    await ended(channel, "finished")
    await channel.until(lambda: channel.payloads("typing")[-1] == {"participant_id": talk.bot, "on": False})


async def test_a_run_goes_on_without_valkey_and_is_made_up_for(
    stack: Stack, phoenix: Phoenix, talk: Talk
) -> None:
    channel = await talk.watch(phoenix, stack.web[1])
    call = await talk.ask("hello")
    call.say("before ")
    await shows(channel, "before ")
    stack.kill("valkey")
    call.say("while ")
    await asyncio.sleep(1)
    stack.restart("valkey")
    call.say("after ")
    await shows(channel, "before while after ")
    call.end()
    await ended(channel, "finished")
    assert (await channel.seq(2))["text"] == "before while after "
