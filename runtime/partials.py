"""Partials: what streamed runs have said so far, kept in Valkey for those who come in the middle.

A hash for each run; its fields are the numbers of chunks, so that a write that is done twice changes nothing. It lives on
the Valkey that carries the conversation's group: a chunk is kept and published in one round trip, kept first.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from channels.layers import get_channel_layer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from runtime.channel_layer import group_of

VALKEY_AWAY: Final = (RedisError, OSError, TimeoutError)
"""What is raised while Valkey cannot be asked."""

KEPT_SECONDS: Final = 900
"""How long a partial is kept after its newest chunk: the dispatcher has died if it was not ended meanwhile."""

KEPT_ENDED_SECONDS: Final = 30
"""How long after its run's end, for those who are about to fetch a hole."""

TIMEOUT: Final = 2.0
"""Seconds after which a round trip is given up."""

FIELDS: Final = 1_000
"""Chunks of one HSET: Lua hands on no more than a few thousand arguments at once."""

# One command and one reply for all of them: each is preceded by the number of its words. redis-py takes as long for each
# command of a pipeline as this takes for all.
RUN_ALL: Final = """
local at = 1
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
"""

Word = str | int | bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be written of one run at once: chunks from number `first`, how long to keep them, frames to publish."""

    conversation_id: int
    run_id: str
    first: int
    chunks: Sequence[bytes]
    keep: int | None
    frames: Sequence[dict[str, Any]]


class Partials:
    """Writes and reads them. It holds no state of its own."""

    def __init__(self) -> None:
        self._layer = get_channel_layer()

    async def write(self, turns: Iterable[Turn]) -> None:
        """Keep and publish all of it, in this order, in one round trip for each Valkey. Raises one of `VALKEY_AWAY`."""
        by_client: defaultdict[Redis, list[Turn]] = defaultdict(list)
        for turn in turns:
            by_client[self._layer.client_of(group_of(turn.conversation_id))].append(turn)
        async with asyncio.timeout(TIMEOUT):
            for client, some in by_client.items():
                words: list[Word] = []
                for turn in some:
                    for command in self._commands(turn):
                        words += (len(command), *command)
                await client.execute_command("EVAL", RUN_ALL, 0, *words)  # type: ignore[no-untyped-call]  # redis has none

    def _commands(self, turn: Turn) -> Iterator[list[Word]]:
        key = _key(turn.run_id)
        for start in range(0, len(turn.chunks), FIELDS):
            fields: list[Word] = []
            for number, chunk in enumerate(turn.chunks[start : start + FIELDS], turn.first + start):
                fields += (number, chunk)
            yield ["HSET", key, *fields]
        if turn.keep is not None:
            yield ["EXPIRE", key, turn.keep]
        for frame in turn.frames:
            yield ["PUBLISH", *self._layer.publication(group_of(turn.conversation_id), frame)]

    async def read(self, conversation_id: int, run_id: str, after: int = 0) -> list[bytes]:
        """The chunks of a run from number `after` on, as far as there is no hole. Raises one of `VALKEY_AWAY`."""
        client = self._layer.client_of(group_of(conversation_id))
        async with asyncio.timeout(TIMEOUT):
            fields: dict[bytes, bytes] = await client.execute_command("HGETALL", _key(run_id))
        chunks: list[bytes] = []
        while (chunk := fields.get(str(after + len(chunks)).encode())) is not None:
            chunks.append(chunk)
        return chunks


def _key(run_id: str) -> str:
    return f"fleetlm:run:{run_id}"
