"""The three agents of examples/multi_agent, started as its README says."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runtime.ports import free_port
from tests.e2e.printed import Printed
from tests.e2e.rest import Api
from tests.e2e.stack import HOST, ROOT, Stack
from tests.e2e.test_examples import clean_environment

PATIENCE = 30.0
PROGRAM = "examples/multi_agent/agents.py"
LOOP_LIMIT = 20


class Newsroom:
    """The example under way, and what it prints."""

    def __init__(self, url: str, group: str) -> None:
        self.url = url
        self.group = group
        self._programs: list[Printed] = []

    def start(self, *more: str) -> Printed:
        options = ["--url", self.url, "--port", str(free_port(HOST)), "--group", self.group, *more]
        process = subprocess.Popen(
            [sys.executable, PROGRAM, *options],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._programs.append(Printed(process))
        return self._programs[-1]

    def stop(self) -> None:
        for printed in self._programs:
            printed.process.kill()
            printed.process.wait()
            assert printed.process.stdout is not None
            printed.process.stdout.close()


@pytest.fixture
def newsroom(stack: Stack, fresh: str) -> Iterator[Newsroom]:
    newsroom = Newsroom(stack.web[0], f"newsroom-{fresh}")
    yield newsroom
    newsroom.stop()


async def said(printed: Printed, text: str) -> None:
    """Wait until it has printed this."""
    assert await asyncio.to_thread(printed.await_text, text, PATIENCE), printed.text()


async def test_they_call_each_other_until_the_work_is_done(newsroom: Newsroom, api: Api) -> None:
    printed = newsroom.start("--ask", "@planner Tell us about tea.")
    await said(printed, "writer  Tell us about tea. It is old.")
    log = await api.log(newsroom.group)
    assert [message["sender_id"] for message in log] == ["alice", "planner", "researcher", "writer"]
    assert [message["mentions"] for message in log] == [["planner"], ["researcher"], ["writer"], []]
    assert log[-1]["content"]["status"] == "complete", "the writer streams"
    # Who is not mentioned is not called.
    await api.send(newsroom.group, "alice", "Thank you, all.")
    await api.send(newsroom.group, "alice", "@writer Tell us about rain.")
    await said(printed, "writer  Tell us about rain. It is old.")
    senders = [message["sender_id"] for message in await api.log(newsroom.group)]
    assert senders[4:] == ["alice", "alice", "writer"]


async def test_the_loop_guard_ends_what_would_never_end(newsroom: Newsroom, api: Api) -> None:
    printed = newsroom.start("--ask", "@planner Tell us about tea until it is perfect.")
    await said(printed, "They pause until a person writes.")
    log = await api.log(newsroom.group)
    pause = next(message for message in log if message["kind"] == "system")
    agents = [message["sender_id"] for message in log[1 : pause["seq"] - 1]]
    assert agents[:4] == ["planner", "researcher", "writer", "planner"]
    assert len(agents) == LOOP_LIMIT
    assert set(agents[2:]) == {"writer", "planner"}
    assert log[-1] == pause
    # A person's word lets them go on; without the impossible wish they come to an end.
    await api.send(newsroom.group, "alice", "@writer Just tell us about rain.")
    await said(printed, "writer  Just tell us about rain.")
    assert [message["sender_id"] for message in (await api.log(newsroom.group))[pause["seq"] :]][
        -1
    ] == "writer"


async def test_it_can_be_started_again(newsroom: Newsroom, api: Api) -> None:
    await said(newsroom.start("--ask", "@writer Tell us about rain."), "writer  Tell us about rain.")
    newsroom.stop()
    again = newsroom.start("--ask", "@writer Tell us about snow.")
    await said(again, "writer  Tell us about snow.")
    assert "writer  Tell us about rain." in again.text(), "the conversation is still there"
