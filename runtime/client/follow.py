"""Following a topic for as long as it takes: joined again after every loss, with no hole and nothing twice."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

from runtime.client.errors import Disconnected
from runtime.client.phoenix import Event, connect
from runtime.client.server import PAGE, Server

FIRST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 10.0

Notice = Callable[[Disconnected], None]
"""Is told of every loss that is being repaired."""

Watch = Callable[[str, dict[str, Any]], None]
"""Is shown every event of a topic, `join` with its reply among them, before anything is made of it."""


async def stay_joined(
    server: Server,
    topic: str,
    start: Callable[[], dict[str, Any]],
    notice: Notice,
    in_order: Callable[[], bool] = lambda: True,
) -> AsyncGenerator[Event, None]:
    """Every event of a topic; each join's reply comes as the event `join`. `start` gives the payload of the next join.

    Joins anew when the connection is lost, or when `in_order` says after an event that something is missing.
    Raises `ClientError` when the server refuses, and when it cannot be reached for the first join.
    """
    joined, failures = False, 0
    while True:
        try:
            async with connect(server) as connection:
                yield "join", await connection.join(topic, start())
                joined, failures = True, 0
                async with contextlib.aclosing(connection.events(topic)) as events:
                    async for event in events:
                        yield event
                        if not in_order():
                            raise Disconnected("A message is missing.")
        except (Disconnected, TimeoutError) as error:
            lost = (
                error
                if isinstance(error, Disconnected)
                else Disconnected("The server did not answer in time.")
            )
            if not joined:
                raise lost from None
            notice(lost)
        await asyncio.sleep(delay_after(failures, random.random()))  # noqa: S311  # no secret
        failures += 1


def delay_after(failures: int, chance: float) -> float:
    """Seconds to wait: doubling up to 10, spread by `chance` (0 to 1), so that not all clients come back at once."""
    ceiling: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10))
    return ceiling * (0.5 + chance / 2)


@dataclass(slots=True)
class Place:
    """How far a conversation has been followed: the cursor (epoch, seq) that a join resumes from."""

    seq: int | None = None
    epoch: str | None = None
    newest: int = 10
    """How many of the newest messages to begin with, where there is no seq to resume from."""
    complete: bool = True

    def start(self) -> dict[str, Any]:
        """The payload of the next join."""
        self.complete = True
        if self.seq is None:
            return {"limit": max(self.newest, 1)}
        return {"after": self.seq, "limit": PAGE, **({"epoch": self.epoch} if self.epoch else {})}

    def take_join(self, reply: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a join's reply that are new. Another epoch is another log, and begins anew."""
        begins = self.seq is None
        if not reply["recovered"]:
            self.seq = None
        self.epoch = reply["epoch"]
        messages = reply["messages"]
        if begins and self.newest == 0:
            self.seq = reply["last_seq"]
        if self.seq is None:
            self.seq = messages[0]["seq"] - 1 if messages else reply["last_seq"]
        return [message for message in messages if self.take(message)]

    def take(self, message: dict[str, Any]) -> bool:
        """Whether this message is the next one. One that was taken is passed over; one too far on makes it incomplete."""
        if self.seq is None or not self.complete or message["seq"] <= self.seq:
            return False
        if message["seq"] > self.seq + 1:
            self.complete = False
            return False
        self.seq = message["seq"]
        return True


def _unwatched(event: str, payload: dict[str, Any]) -> None:
    """Nobody looks."""


async def follow_conversation(
    server: Server, key: str, place: Place, notice: Notice, watch: Watch = _unwatched
) -> AsyncGenerator[dict[str, Any], None]:
    """Every message of a conversation from a place on, once and in order, for ever."""
    joined = stay_joined(server, f"conversation:{key}", place.start, notice, lambda: place.complete)
    async with contextlib.aclosing(joined) as events:
        async for event, payload in events:
            watch(event, payload)
            if event == "join":
                for message in place.take_join(payload):
                    yield message
            elif event == "message" and place.take(payload):
                yield payload


async def follow_inbox(server: Server, notice: Notice) -> AsyncGenerator[dict[str, Any], None]:
    """Every entry of the participant's inbox, then every change of one, for ever."""
    shown: dict[str, dict[str, Any]] = {}
    joined = stay_joined(server, f"inbox:{server.participant_id}", dict, notice)
    async with contextlib.aclosing(joined) as events:
        async for event, payload in events:
            entries = payload.get("conversations" if event == "join" else "updates", [])
            for entry in entries if event in ("join", "tick") else ():
                if shown.get(entry["key"]) != entry:
                    shown[entry["key"]] = entry
                    yield entry
