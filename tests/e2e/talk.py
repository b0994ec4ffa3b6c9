"""Traffic for the tests: many messages, through several processes at once."""

import asyncio
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Self

import aiohttp

from tests.e2e.rest import Api, Refused


async def talk(api: Api, key: str, sender: str, messages: int, *, text: str = "message") -> None:
    """Send so many messages, through both web processes at once."""
    numbers = iter(range(messages))

    async def one_after_the_other(web: int) -> None:
        for number in numbers:
            await api.send(key, sender, f"{text} {number}", web=web)

    await asyncio.gather(*(one_after_the_other(web) for web in (0, 1) for _ in range(4)))


class Traffic:
    """Senders that go on until they are told to stop, and what they were told."""

    def __init__(self, api: Api, key: str, sender: str, *, name: str = "first") -> None:
        self.acknowledged: dict[str, int] = {}
        self.refusals: list[tuple[int, str]] = []
        self.lost: list[Exception] = []
        self._api = api
        self._key = key
        self._sender = sender
        self._name = name
        self._numbers = count()
        self._going = True
        self._news = asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._senders = [asyncio.create_task(self._send(web)) for web in (0, 1) for _ in range(2)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    async def until(self, holds: Callable[[], object], within: float = 20.0) -> None:
        """Wait until this holds; it is looked at after every answer."""
        async with asyncio.timeout(within):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def more(self, messages: int, within: float = 20.0) -> None:
        """Wait until so many more are acknowledged."""
        goal = len(self.acknowledged) + messages
        await self.until(lambda: len(self.acknowledged) >= goal, within)

    async def stop(self) -> None:
        """Let every sender have its last answer."""
        self._going = False
        await asyncio.gather(*self._senders)

    async def _send(self, web: int) -> None:
        while self._going:
            client_id = f"{self._name}-{next(self._numbers)}"
            try:
                message = await self._api.send(
                    self._key, self._sender, client_id, client_id=client_id, web=web
                )
            except Refused as refusal:
                self.refusals.append((refusal.status, refusal.code))
                await asyncio.sleep(0.1)  # as a client does that was told to come back later
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                self.lost.append(error)
                await asyncio.sleep(0.1)
            else:
                self.acknowledged[client_id] = message["seq"]
                await asyncio.sleep(0.005)
            self._news.set()
