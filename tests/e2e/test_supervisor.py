"""The supervisor, with real child processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from runtime.program import Program
from runtime.supervisor import Supervisor

WAIT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
LAST_WORDS = """
import signal, sys, time
def end(*_):
    print("bye", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""
WITH_GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("grandchild", child.pid, flush=True)
time.sleep(60)
"""
SUPERVISE = """
import asyncio, sys
from pathlib import Path
from runtime.program import Program
from runtime.supervisor import Supervisor
async def main():
    supervisor = Supervisor(print)
    code = "import time; time.sleep(60)"
    for name in ("one", "two"):
        command = [sys.executable, "-c", code]
        child = await supervisor.start(Program(name=name, command=command, directory=Path("/")))
        print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


class Screen:
    """What the supervisor showed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def write(self, line: str) -> None:
        self.lines.append(" ".join(line.split()))
        self._news.set()

    async def shows(self, wanted: str, times: int = 1) -> str:
        """The line, as soon as it was shown that often."""
        async with asyncio.timeout(10):
            while len(found := [line for line in self.lines if wanted in line]) < times:
                self._news.clear()
                await self._news.wait()
        return found[-1]


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
async def supervisor(screen: Screen) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(screen.write, grace=0.5)
    yield supervisor
    await supervisor.stop()


def program(name: str, code: str) -> Program:
    return Program(name=name, command=[sys.executable, "-c", code], directory=Path("/"))


async def test_output_is_shown_under_its_name(supervisor: Supervisor, screen: Screen) -> None:
    code = "print('out', flush=True); print('é' * 100_000); print('no line end', end='')"
    assert await supervisor.run(program("talker", code)) == 0
    assert screen.lines[0] == "talker | out"
    assert screen.lines[-1] == "talker | no line end"
    assert sum(line.count("é") for line in screen.lines) > 99_000


async def test_what_dies_is_started_again(supervisor: Supervisor, screen: Screen) -> None:
    child = await supervisor.start(program("web", WAIT))
    await screen.shows("web | up")
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await screen.shows("web | up", times=2)
    assert "fleetlm | web was ended by SIGKILL; starting it again in 0.5 s" in screen.lines
    assert child.restarts == 1
    assert child.pid not in (None, first)


async def test_the_delays_grow(supervisor: Supervisor, screen: Screen) -> None:
    await supervisor.start(program("broken", "raise SystemExit(3)"))
    await screen.shows("broken failed with exit code 3; starting it again in 0.5 s")
    await screen.shows("broken failed with exit code 3; starting it again in 1 s")
    await screen.shows("broken failed with exit code 3; starting it again in 2 s")


async def test_they_stop_in_reverse_order(supervisor: Supervisor, screen: Screen) -> None:
    for name in ("first", "second", "third"):
        await supervisor.start(program(name, LAST_WORDS))
        await screen.shows(f"{name} | up")
    await supervisor.stop()
    assert screen.lines[-3:] == ["third | bye", "second | bye", "first | bye"]


async def test_what_does_not_stop_is_killed(supervisor: Supervisor, screen: Screen) -> None:
    child = await supervisor.start(program("deaf", STUBBORN))
    await screen.shows("deaf | up")
    pid = child.pid
    assert pid is not None
    await supervisor.stop()
    assert "fleetlm | deaf did not stop in time and was killed" in screen.lines
    assert not psutil.pid_exists(pid)


async def test_hurry_ends_the_grace(screen: Screen) -> None:
    supervisor = Supervisor(screen.write, grace=60)
    await supervisor.start(program("deaf", STUBBORN))
    await screen.shows("deaf | up")
    stopping = asyncio.create_task(supervisor.stop())
    supervisor.hurry()
    async with asyncio.timeout(5):
        await stopping


async def test_it_leaves_no_grandchildren(supervisor: Supervisor, screen: Screen) -> None:
    await supervisor.start(program("parent", WITH_GRANDCHILD))
    grandchild = int((await screen.shows("grandchild")).split()[-1])
    await supervisor.stop()
    await _until(lambda: _is_gone(grandchild))


async def test_cancelling_a_run_stops_it(supervisor: Supervisor, screen: Screen) -> None:
    run = asyncio.create_task(supervisor.run(program("migrate", LAST_WORDS)))
    await screen.shows("migrate | up")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert screen.lines[-1] == "migrate | bye"


async def test_what_cannot_be_started_says_so(supervisor: Supervisor) -> None:
    with pytest.raises(FileNotFoundError):
        await supervisor.start(Program(name="none", command=["/nowhere/program"], directory=Path("/")))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_no_orphans_after_the_supervisor_is_killed() -> None:
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISE, stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout
    children = [int(await supervisor.stdout.readline()) for _ in range(2)]
    supervisor.kill()
    await supervisor.wait()
    await _until(lambda: all(_is_gone(pid) for pid in children))


def _is_gone(pid: int) -> bool:
    try:
        return (
            psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        )  # dead; whoever adopted it has not looked yet
    except psutil.NoSuchProcess:
        return True


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
