"""A TCP proxy that does to connections what networks do: cuts them (in the middle of a frame, too), holds them back, lets them
go half-open, refuses new ones, or lets HTTP pass but no WebSocket.

What is done to the connections that are open (`cut`, `half_open`) is done for good: no connection comes back from it.
The `weather` holds for every connection, old and new, until it changes. See `tests/e2e/fault_schedule.py` for series of both.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Literal, Self

HOST: Final = "127.0.0.1"
CHUNK: Final = 16 * 1024
BLOCKED: Final = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_WITH_RESET: Final = struct.pack("ii", 1, 0)

Direction = Literal["up", "down"]
"""`up`: to the server."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What holds for every connection."""

    delay: float = 0.0
    """Seconds for which each chunk is held back."""
    bytes_per_second: int | None = None
    refuses: bool = False
    """New connections are reset at once."""
    refuses_upgrades: bool = False
    """Requests for a WebSocket are answered with 403; everything else passes."""
    swallows: bool = False
    """New connections are taken, and nothing ever comes through."""
    cuts_after: int | None = None
    """New connections are reset when so many bytes have come down."""

    def seconds(self, size: int) -> float:
        """For which so many bytes are held back."""
        return self.delay + (size / self.bytes_per_second if self.bytes_per_second else 0.0)


FAIR: Final = Weather()


@dataclass(eq=False, slots=True)
class Link:
    """One connection of a client, and that to the server behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: set[Direction] = field(default_factory=set)
    """Where nothing passes any more."""
    left: dict[Direction, int] = field(default_factory=dict)
    """Bytes that may still pass before it is cut."""

    def cut(self) -> None:
        """Reset both ends."""
        _reset(self.client)
        _reset(self.server)


class FaultyProxy:
    """Listens on a port of its own and passes everything on to one of the servers (host, port), drawn for each connection."""

    def __init__(self, servers: Sequence[tuple[str, int]], random: Random | None = None) -> None:
        self.weather = FAIR
        self.links: set[Link] = set()
        self.accepted = 0
        """Connections so far, those that were refused included."""
        self.swallowed = 0
        """Bytes that came and went nowhere."""
        self._servers = servers
        self._random = random or Random(0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._take, HOST, 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.weather = Weather(refuses=True)
        await asyncio.sleep(0)  # those that were accepted and not yet taken
        self.cut()
        await _end(self._tasks)

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://{HOST}:{self.port}"

    # What is done to the connections that are open.

    def cut(self, *, after: int = 0, direction: Direction = "down") -> None:
        """Reset every open connection: now, or when so many more bytes have passed in this direction."""
        for link in list(self.links):
            if after:
                link.left[direction] = after
            else:
                link.cut()

    def half_open(self, *directions: Direction) -> None:
        """Let nothing more pass in these directions (both, if none is named); neither end is told."""
        for link in self.links:
            link.dead.update(directions or ("up", "down"))

    # How it is done.

    async def _take(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            if not self.weather.refuses:
                await self._serve(reader, client)
            _reset(client)
        except OSError:
            _reset(client)
        except asyncio.CancelledError:  # the proxy ends; asyncio's server would log it
            _reset(client)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        weather = self.weather
        if weather.swallows:
            while chunk := await reader.read(CHUNK):
                self.swallowed += len(chunk)
            return
        from_server, server = await asyncio.open_connection(*self._random.choice(self._servers))
        link = Link(client, server)
        if weather.cuts_after is not None:
            link.left["down"] = weather.cuts_after
        for writer in (client, server):
            writer.transport.set_write_buffer_limits(0)  # `drain` is to wait for the last byte
        self.links.add(link)
        try:
            await _both(
                self._pass_on(link, "up", reader, server),
                self._pass_on(link, "down", from_server, client),
            )
            await _close(client)
        finally:
            self.links.discard(link)
            _reset(server)

    async def _pass_on(
        self,
        link: Link,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on all that comes, and the end. What is wrong is looked up at each chunk."""
        while chunk := await reader.read(CHUNK):
            await asyncio.sleep(self.weather.seconds(len(chunk)))
            if direction in link.dead:
                self.swallowed += len(chunk)
            elif self.weather.refuses_upgrades and _asks_for_a_websocket(chunk):
                link.client.write(BLOCKED)
                await _close(link.client)
                return
            else:
                await self._write(link, direction, writer, chunk)
        if direction in link.dead:
            await asyncio.Event().wait()  # the other end does not learn of it
        if not writer.is_closing():
            writer.write_eof()

    async def _write(
        self, link: Link, direction: Direction, writer: asyncio.StreamWriter, chunk: bytes
    ) -> None:
        left = link.left.get(direction, len(chunk) + 1)
        writer.write(chunk[:left])
        await writer.drain()
        if direction in link.left:
            link.left[direction] -= len(chunk)
            if left <= len(chunk):
                link.cut()


def _asks_for_a_websocket(chunk: bytes) -> bool:
    """Whether this is the head of such a request; clients send it as a whole."""
    return chunk.startswith(b"GET ") and b"upgrade: websocket" in chunk.lower()


async def _both(*ways: "asyncio._CoroutineLike[None]") -> None:
    """Run both to their ends, or until one raises."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: "Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]") -> None:
    for task in (ending := list(tasks)):
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; whoever is at the other end gets a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITH_RESET)
    writer.transport.abort()
