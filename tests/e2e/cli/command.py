"""The `fleetlm` command as a process: its arguments, its pipes, its end."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.stack import ROOT

PATIENCE: Final = 60.0
FLEETLM: Final = (sys.executable, "-m", "fleetlm_client.cli")
MANAGE: Final = (sys.executable, "manage.py", "client")

Line = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    output: str
    errors: str

    @property
    def lines(self) -> list[Line]:
        """The JSON lines that it wrote."""
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def line(self) -> Line:
        """The only one."""
        (line,) = self.lines
        return line

    @property
    def error(self) -> Line:
        """The only error."""
        (line,) = self.errors.splitlines()
        error: Line = json.loads(line)["error"]
        return error


class Command:
    """Starts the command with an environment of its own, and ends what still runs at the end."""

    def __init__(self, home: Path, url: str, program: tuple[str, ...] = FLEETLM, **environment: str) -> None:
        self.program = program
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FLEETLM_")},
            "XDG_CONFIG_HOME": str(home),
            "FLEETLM_URL": url,
            **environment,
        }
        self._running: list[Process] = []

    async def start(self, *arguments: str, stdin: int | None = PIPE) -> Process:
        """Start it with pipes."""
        process = await asyncio.create_subprocess_exec(
            *self.program, *arguments, cwd=ROOT, env=self.environment, stdin=stdin, stdout=PIPE, stderr=PIPE
        )
        self._running.append(process)
        return process

    async def run(self, *arguments: str, given: str = "") -> Done:
        """Run it to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(PATIENCE):
            output, errors = await process.communicate(given.encode())
        return Done(process.returncode, output.decode(), errors.decode())

    async def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def read_lines(process: Process, count: int) -> list[Line]:
    """The next JSON lines that it writes."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[Line] = []
    async with asyncio.timeout(PATIENCE):
        while len(lines) < count:
            line = await process.stdout.readline()
            assert line, f"It ended after {len(lines)} lines: {(await process.stderr.read()).decode()}"
            lines.append(json.loads(line))
    return lines
