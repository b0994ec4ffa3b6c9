"""`python -m tests.e2e.receivers PORT FILE`: an agent in a process of its own, which writes down what it gets.

Each call becomes a line of JSON in the file, in the order in which they come. How it answers is its mood, which
`PUT /mood` changes: `well` accepts, `flaky` answers every other call with 500, `hanging` never answers. With
`--talks-in WORD` it says something in conversations whose key holds that word.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from aiohttp import web

HOST: Final = "127.0.0.1"
MOODS: Final = ("well", "flaky", "hanging")


@dataclass(frozen=True, slots=True)
class Received:
    """One call as an agent got it. `status` is what it was answered with; 0: nothing."""

    at: float
    """When, by the system's monotonic clock, which all processes share."""
    id: str
    run_id: str
    key: str
    new_from_seq: int
    seqs: Sequence[int]
    """Of the messages that came with it, oldest first."""
    status: int

    @classmethod
    def of(cls, body: dict[str, Any], status: int) -> Self:
        """What a call says."""
        return cls(
            time.monotonic(),
            body["id"],
            body["run_id"],
            body["key"],
            body["new_from_seq"],
            [message["seq"] for message in body["conversation"]],
            status,
        )

    @property
    def upper(self) -> int:
        """The last seq that came with it."""
        return self.seqs[-1]

    @property
    def new(self) -> list[int]:
        """The seqs that the agent had not been given before."""
        return [seq for seq in self.seqs if seq >= self.new_from_seq]

    @property
    def accepted(self) -> bool:
        """Whether the agent took it."""
        return 200 <= self.status < 300


def read(file: Path, since: int = 0) -> Iterator[Received]:
    """The calls that a receiver has written down, from a place of its file on."""
    with file.open("rb") as lines:
        lines.seek(since)
        for line in lines:
            yield Received(**orjson.loads(line))


class Receiver:
    """The agent."""

    def __init__(self, file: Path, talks_in: str) -> None:
        self._lines = file.open("ab", buffering=0)
        self._talks_in = talks_in
        self._mood = "well"
        self._numbers = itertools.count()

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Take a call, or not."""
        body = orjson.loads(await request.read())
        talks = bool(self._talks_in) and self._talks_in in body["key"]
        status = self._status(200 if talks else 204)
        self._lines.write(orjson.dumps(Received.of(body, status)) + b"\n")
        if not status:
            await asyncio.Event().wait()  # until the caller hangs up
        if status == 200:
            return web.json_response({"text": f"Yes, {body['id']}"})
        return web.Response(status=status)

    def _status(self, well: int) -> int:
        if self._mood == "hanging":
            return 0
        return 500 if self._mood == "flaky" and next(self._numbers) % 2 else well

    async def change_mood(self, request: web.Request) -> web.Response:
        """Answer in another way from now on; what hangs goes on hanging."""
        mood = await request.text()
        if mood not in MOODS:
            return web.Response(status=400)
        self._mood = mood
        return web.Response(status=204)


def main() -> None:
    """Listen until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.receivers", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--talks-in", default="")
    arguments = parser.parse_args()
    receiver = Receiver(arguments.file, arguments.talks_in)
    app = web.Application()
    app.add_routes([web.post("/", receiver.call), web.put("/mood", receiver.change_mood)])
    web.run_app(
        app,
        host=HOST,
        port=arguments.port,
        access_log=None,
        print=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )


if __name__ == "__main__":
    main()
