"""Talking: lines in become messages, messages of everyone become lines out."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import IO, Any, Final

import orjson

from runtime.client.answers import Answers
from runtime.client.errors import ClientError, Disconnected
from runtime.client.follow import Place, follow_conversation
from runtime.client.output import Show
from runtime.client.server import Server

LINES_AHEAD: Final = 100


class Chat:
    """One conversation, followed and written to at the same time."""

    def __init__(self, server: Server, key: str, show: Show, say: Callable[[ClientError], None]) -> None:
        self._server = server
        self._key = key
        self._show = show
        self._say = say
        self._last_sent = 0
        self._shown = 0
        self._progress = asyncio.Event()
        self._answers = Answers(server.participant_id)
        self.failures = 0

    async def run(self, lines: IO[str], place: Place, linger: float) -> None:
        """Send every line; at the end of the input go on listening until one's own last message was shown, until agents
        have answered it if the input was no terminal (see `Answers.settle`), and for `linger` seconds more.

        Raises `ClientError` when the conversation cannot be followed.
        """
        listening = asyncio.create_task(self._listen(place), name="listen")
        talking = asyncio.create_task(self._talk(lines, linger), name="talk")
        try:
            done, _ = await asyncio.wait({listening, talking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (listening, talking):
                task.cancel()
            await asyncio.gather(listening, talking, return_exceptions=True)

    async def _listen(self, place: Place) -> None:
        async with contextlib.aclosing(
            follow_conversation(self._server, self._key, place, self._lost, self._answers.watch)
        ) as messages:
            async for message in messages:
                self._show(message)
                self._shown = message["seq"]
                self._answers.shown(message)
                self._progress.set()

    def _lost(self, error: Disconnected) -> None:
        self._say(error)

    async def _talk(self, lines: IO[str], linger: float) -> None:
        async for line in read_lines(lines):
            body = message_of(line)
            if body is None:
                continue
            try:
                stored = await self._server.send(self._key, body)
                self._last_sent = stored["seq"]
            except ClientError as error:
                self.failures += 1
                self._say(error)
        while self._shown < self._last_sent:
            self._progress.clear()
            await self._progress.wait()
        if self._last_sent and not lines.isatty():
            await self._answers.settle(self._last_sent)
        await asyncio.sleep(linger)


def message_of(line: str) -> dict[str, Any] | None:
    """What a line of input sends: an object with `text` or `content` as it is, anything else as text, an empty line nothing."""
    line = line.strip()
    if line.startswith("{"):
        with contextlib.suppress(orjson.JSONDecodeError):
            body: dict[str, Any] = orjson.loads(line)
            if "text" in body or "content" in body:
                return body
    return {"text": line} if line else None


async def read_lines(source: IO[str]) -> AsyncIterator[str]:
    """The lines of a terminal, pipe or file, read in a thread, a hundred ahead at most."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(LINES_AHEAD)

    def read() -> None:
        with contextlib.suppress(RuntimeError, ValueError):  # the loop, or the input, was closed meanwhile
            for line in source:
                asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()

    # A daemon: nobody can interrupt a read from a terminal.
    threading.Thread(target=read, name="read lines", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
