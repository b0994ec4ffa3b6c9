"""Keeps programs running: shows their output, restarts what dies, and stops all of them in order.

Start them in the order in which they need each other; they stop in the reverse of it.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Final

from runtime.process import Process, launch
from runtime.program import Program

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
STABLE_AFTER: Final = 30.0
GRACE: Final = 10.0
NAME_WIDTH: Final = 10


class Child:
    """A program that is kept running: one process after the other."""

    def __init__(self, program: Program, supervisor: "Supervisor", process: Process) -> None:
        self.program = program
        self.restarts = 0
        self._supervisor = supervisor
        self._process: Process | None = process
        self._keeper = asyncio.create_task(self._keep(process), name=f"keep {program.name}")

    @property
    def pid(self) -> int | None:
        """The running process's id; None between two."""
        return self._process.pid if self._process else None

    async def _keep(self, process: Process) -> None:
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            ended = describe_exit(await process.wait())
            self._process = None
            if time.monotonic() - began >= STABLE_AFTER:
                delay = FIRST_DELAY
            while self._process is None:
                self._supervisor.say(f"{self.program.name} {ended}; starting it again in {delay:g} s")
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
                self.restarts += 1
                try:
                    self._process = process = await launch(self.program, self._supervisor.show)
                except OSError as error:
                    ended = f"could not be started ({error})"

    async def stop(self) -> None:
        """Stop it for good: ask, and after the supervisor's grace kill. Returns when it is gone."""
        self._keeper.cancel()
        await asyncio.wait({self._keeper})
        if self._process is not None:
            await self._supervisor.end(self.program, self._process)


class Supervisor:
    """Runs programs as children of this process. `write` gets what is to be shown, line by line.

    Use it from the main thread: the kernel ties the children's lives to the thread that starts them.
    """

    def __init__(self, write: Callable[[str], None], *, grace: float = GRACE) -> None:
        self._write = write
        self._grace = grace
        self._hurried = asyncio.Event()
        self._children: list[Child] = []

    async def start(self, program: Program) -> Child:
        """Start a program and keep it running: whenever it ends it is started again, after 0.5 s, 1 s … 30 s.

        Once it has been up for 30 s the delays begin anew. Raises `OSError` when it cannot be started at all.
        """
        child = Child(program, self, await launch(program, self.show))
        self._children.append(child)
        return child

    async def run(self, program: Program) -> int:
        """Run a program once, to its end; its exit code, negative for a signal. Cancelling this stops it."""
        process = await launch(program, self.show)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await self.end(program, process)
            raise

    async def stop(self) -> None:
        """Stop every program, the last one started first, each within its own grace."""
        while self._children:
            await self._children.pop().stop()

    def hurry(self) -> None:
        """Grant no more grace: what is asked to stop, now or later, is killed at once."""
        self._hurried.set()

    async def end(self, program: Program, process: Process) -> None:
        """Stop one process, and say so if it had to be killed."""
        if not await process.stop(program.stop_signal, self._grace, self._hurried):
            self.say(f"{program.name} did not stop in time and was killed")

    def say(self, line: str) -> None:
        """Show a line of the supervisor's own."""
        self.show("fleetlm", line)

    def show(self, name: str, line: str) -> None:
        """Show a line of a program's."""
        self._write(f"{name:<{NAME_WIDTH}} | {line}")


def describe_exit(code: int) -> str:
    """How a process ended, in words: `ended`, `failed with exit code 3`, `was ended by SIGKILL`."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"failed with exit code {code}" if code else "ended"
