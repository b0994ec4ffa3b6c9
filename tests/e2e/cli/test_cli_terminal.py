"""`fleetlm` at a real terminal: a process on a pseudo-terminal."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e.cli.command import FLEETLM, PATIENCE, Command
from tests.e2e.rest import Api
from tests.e2e.stack import ROOT

People = tuple[str, str, str]


class Terminal:
    """A pseudo-terminal with a process on it."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master = master
        self.process = process
        self.seen = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            self.seen += os.read(self._master, 65_536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
        self._news.set()

    async def shows(self, text: str) -> None:
        """Wait until this was written."""
        try:
            async with asyncio.timeout(PATIENCE):
                while text.encode() not in self.seen:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"It has written {self.seen[-2_000:]!r}") from None

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    async def ends(self) -> int:
        """Its exit code."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


@asynccontextmanager
async def terminal(fleetlm: Command, *arguments: str) -> AsyncIterator[Terminal]:
    """The command on a terminal of 100 by 30."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *FLEETLM,
        *arguments,
        cwd=ROOT,
        env={**fleetlm.environment, "TERM": "xterm-256color"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    opened = Terminal(master, process)
    try:
        yield opened
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


async def test_one_talks_to_an_agent_and_leaves(fleetlm: Command, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    await api.send(f"{alice}:echo-bot", "echo-bot", "\x1b]0;owned\x07\x1b[2J")
    async with terminal(fleetlm, "chat", alice, "echo-bot") as chat:
        await chat.shows("online")
        chat.type("hello\r")
        await chat.shows("You said: hello")
        chat.type("\x11")
        assert await chat.ends() == 0
        assert b"\x1b]0;owned" not in chat.seen
        assert b"\x1b[?1049l" in chat.seen


async def test_people_read_lines_not_json(fleetlm: Command, people: People) -> None:
    alice, bob, key = people
    async with terminal(fleetlm, "send", key, "--as", alice, "hello\nthere") as sent:
        await sent.shows(f"{alice}: hello\r\n")
        assert await sent.ends() == 0
    async with terminal(fleetlm, "tail", key, "--as", bob) as tail:
        await tail.shows("            there\r\n")
        tail.process.send_signal(signal.SIGINT)  # Ctrl-C; this terminal does not control the process
        assert await tail.ends() == 130
    async with terminal(fleetlm, "history", "nope") as refused:
        await refused.shows("(conversation_not_found)\r\n")
        assert await refused.ends() == 1


@pytest.mark.parametrize("arguments", [("inbox",), ("agents", "list"), ("agents", "show", "echo-bot")])
async def test_lists_are_readable(fleetlm: Command, people: People, arguments: tuple[str, ...]) -> None:
    alice, _, _ = people
    await fleetlm.run("send", f"{alice}:echo-bot", "--as", alice, "hello")
    async with terminal(fleetlm, "--as", alice, *arguments) as shown:
        await shown.shows("echo-bot")
        assert await shown.ends() == 0
        assert b'{"' not in shown.seen or arguments[-1] == "echo-bot"
