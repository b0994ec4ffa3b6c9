"""Server-Sent Events as curl gets them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.phoenix import LINE_BYTES, Witness


class EventStream(Witness):
    """A `curl -N` under way; its events with their data, and the last `id`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        super().__init__(name)
        self.last_id = ""
        self._process = process

    @property
    def seqs(self) -> list[int]:
        """Every seq that came, in that order."""
        return [message["seq"] for message in self.payloads("message")]

    async def seq(self, seq: int, within: float = 15.0) -> Any:
        """Wait for the message with this seq."""
        await self.until(lambda: self.seqs and self.seqs[-1] >= seq, within)
        return self.payloads("message")[self.seqs.index(seq)]

    def kill(self) -> None:
        """End curl without a goodbye."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def read(self) -> None:
        """Note every event until the end of the stream."""
        assert self._process.stdout is not None
        fields: dict[str, str] = {}
        while line := await self._process.stdout.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                self.happened(fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
        self.happened("end", await self._process.wait())


@asynccontextmanager
async def event_stream(url: str, *, last_event_id: str = "") -> AsyncIterator[EventStream]:
    """Follow a stream with curl while this context lasts."""
    headers = ("-H", f"Last-Event-ID: {last_event_id}") if last_event_id else ()
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--no-buffer", *headers, url),
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    stream = EventStream(f"curl {url}", process)
    reading = asyncio.create_task(stream.read())
    try:
        yield stream
    finally:
        stream.kill()
        await reading
