"""What comes in through a pipe, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import IO, Any

LINES_AHEAD = 100


def message_of(line: str) -> dict[str, Any] | None:
    """What a line of input sends: an object with `text` or `content` as it is, anything else as text, an empty line
    nothing."""
    line = line.strip()
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            body: dict[str, Any] = json.loads(line)
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
