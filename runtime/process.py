"""One child process under asyncio: started, its output shown line by line, stopped with a grace."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Final

from runtime.program import Program, open_log, signal_group, spawn_options

LINE_BYTES: Final = 64 * 1024
Show = Callable[[str, str], None]
"""Gets a program's name and one line of its output."""


class Process:
    """A process that `launch` started."""

    def __init__(self, process: asyncio.subprocess.Process, relay: "asyncio.Task[None] | None") -> None:
        self.pid = process.pid
        self._process = process
        self._relay = relay

    async def wait(self) -> int:
        """Its exit code (negative: a signal), once it and its group are gone and its last line is shown."""
        code = await self._process.wait()
        signal_group(self.pid, signal.SIGKILL)
        if self._relay is not None:
            # Whatever left the process group may hold the pipe open; it is not waited for.
            await asyncio.wait({self._relay}, timeout=1.0)
            self._relay.cancel()
        return code

    async def stop(self, signum: signal.Signals, grace: float, hurried: asyncio.Event) -> bool:
        """Ask it to end, and kill it after `grace` seconds or as soon as `hurried` is set.

        True if it ended by itself.
        """
        if self._process.returncode is None:
            self._process.send_signal(signum)
        ended = asyncio.create_task(self.wait())
        hurry = asyncio.create_task(hurried.wait())
        await asyncio.wait({ended, hurry}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        clean = ended.done()
        if not clean:
            signal_group(self.pid, signal.SIGKILL)
        await ended
        return clean


async def launch(program: Program, show: Show) -> Process:
    """Start a program; its output goes to its log, or else to `show`.

    Raises `OSError` when it cannot be started.
    """
    if program.log is not None:
        with open_log(program.log) as log:
            return Process(await _spawn(program, log.fileno()), None)
    outlet, inlet = os.pipe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(outlet, "rb", buffering=0)
    )
    # Read even when the start fails: the pipe then ends at once, and is closed with it.
    relay = asyncio.create_task(_relay(reader, program.name, show))
    try:
        return Process(await _spawn(program, inlet), relay)
    finally:
        os.close(inlet)


async def _spawn(program: Program, output: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *program.command, stdout=output, stderr=subprocess.STDOUT, **spawn_options(program)
    )


async def _relay(reader: asyncio.StreamReader, name: str, show: Show) -> None:
    rest = b""
    while chunk := await reader.read(LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) >= LINE_BYTES:  # shown in pieces, so that a process without line ends needs no memory
            lines.append(rest)
            rest = b""
        for line in lines:
            show(name, line.decode(errors="replace").rstrip("\r"))
    if rest:
        show(name, rest.decode(errors="replace"))
