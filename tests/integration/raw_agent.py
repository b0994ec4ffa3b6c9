"""Agents that are nothing but a socket, so that they may answer whatever they like."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from agents.door import Door, Patience
from agents.door.addresses import AddressRules

PATIENCE = 5.0
"""Seconds after which a test gives up waiting."""

LOOPBACK = ("127.0.0.0/8", "::1/128")
QUICK = Patience(answer=0.3, idle=0.3, stream=0.6)
CALM = Patience(answer=PATIENCE, idle=PATIENCE, stream=PATIENCE)


@dataclass
class Talk:
    """One connection, as the agent has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    was_reset: bool = False

    async def request(self) -> tuple[dict[str, str], bytes]:
        """The next request: its headers, in lower case, and its body. Raises `IncompleteReadError` at the end."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        return headers, await self.reader.readexactly(int(headers["content-length"]))

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def hung_up(self) -> int:
        """Wait for the caller to close; returns how many bytes came until then."""
        size = 0
        try:
            while data := await self.reader.read(65_536):
                size += len(data)
        except ConnectionError:
            self.was_reset = True
        return size


Behaviour = Callable[[Talk], Awaitable[None]]


@dataclass
class RawAgent:
    """What listens, and what came."""

    behaviour: Behaviour
    port: int = 0
    connections: int = 0
    faults: list[Exception] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(Talk(reader, writer)))
        self.tasks.add(task)

    async def _serve(self, talk: Talk) -> None:
        try:
            await self.behaviour(talk)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001  # for the test to see
            self.faults.append(error)
        finally:
            talk.writer.transport.abort()


@contextlib.asynccontextmanager
async def raw_agent(
    behaviour: Behaviour, host: str = "127.0.0.1", port: int = 0, takes_bytes: int | None = None
) -> AsyncIterator[RawAgent]:
    """An agent on loopback, or, with the host `::`, on every address. Whatever it does ends with the block."""
    agent = RawAgent(behaviour)
    everywhere = host == "::"
    family = socket.AF_INET6 if everywhere else socket.AF_INET
    listening = socket.create_server((host, port), family=family, dualstack_ipv6=everywhere)
    if takes_bytes is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes_bytes)
    server = await asyncio.start_server(agent.accept, sock=listening, limit=1 << 20)
    agent.port = server.sockets[0].getsockname()[1]
    try:
        yield agent
    finally:
        server.close()
        for task in agent.tasks:
            task.cancel()
        await asyncio.gather(*agent.tasks, return_exceptions=True)
    assert not agent.faults


def answering(*answers: bytes) -> Behaviour:
    """Answers the requests of a connection in turn, the last answer for ever."""

    async def behave(talk: Talk) -> None:
        left = list(answers)
        while True:
            await talk.request()
            await talk.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def response(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    fields = {"content-length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def head(**headers: str) -> bytes:
    """A head without a length: the body lasts until the connection ends, or until its last chunk."""
    lines = ["HTTP/1.1 200 OK", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def door(
    patience: Patience = CALM,
    *,
    allowed: Sequence[str] = LOOPBACK,
    max_bytes: int = 1 << 20,
    **others: object,
) -> Door:
    rules = AddressRules.parse(allowed, require_https=False)
    return Door(patience=patience, max_bytes=max_bytes, rules=rules, **others)  # type: ignore[arg-type]


async def post(opened: Door, url: str, body: bytes = b"{}") -> bytes:
    """Call and read the whole answer."""
    async with opened.call(url, {"content-type": "application/json"}, body) as answer:
        return await answer.read()
