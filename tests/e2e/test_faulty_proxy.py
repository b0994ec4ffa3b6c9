"""The proxy of the property tests: each fault does what it says, and fair weather does nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import aiohttp
import aiohttp.web
import pytest

from tests.e2e.fault_schedule import NAMES, Fault, schedule
from tests.e2e.faulty_proxy import FAIR, HOST, FaultyProxy, Weather

PATIENCE = 5.0
QUIET = 0.1
"""Seconds without a byte after which nothing is taken to come; only to show that something is withheld."""


class Upstream:
    """A server that says back what it hears, until it is told `bye`, and counts who comes and goes."""

    def __init__(self) -> None:
        self.heard = b""
        self.open = 0
        self.changed = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._note(1, b"")
        try:
            while chunk := await reader.read(1 << 16):
                await self._note(0, chunk)
                writer.write(chunk)
                if b"bye" in chunk:
                    break
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.transport.abort()
        finally:
            await self._note(-1, b"")

    async def _note(self, more: int, chunk: bytes) -> None:
        async with self.changed:
            self.open += more
            self.heard += chunk
            self.changed.notify_all()

    async def until_heard(self, text: bytes) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: text in self.heard)

    async def until_left(self) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.open == 0)


class Line:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: bytes) -> bytes:
        """What comes back: as much as was said, or what came before the end."""
        self.writer.write(text)
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.readexactly(len(text))
            except asyncio.IncompleteReadError as error:
                return error.partial

    async def rest(self) -> bytes | None:
        """What comes up to the end; None if that is a reset."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        except ConnectionResetError:
            return None

    async def hears_nothing(self) -> bool:
        try:
            async with asyncio.timeout(QUIET):
                return await self.reader.read(1) is None
        except TimeoutError:
            return True


Call = Callable[[FaultyProxy], Awaitable[Line]]


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    """Connects; every connection is closed in the end."""
    lines = []

    async def connect(proxy: FaultyProxy) -> Line:
        lines.append(Line(*await asyncio.open_connection(HOST, proxy.port)))
        return lines[-1]

    yield connect
    for line in lines:
        line.writer.close()
        with contextlib.suppress(OSError):
            await line.writer.wait_closed()


@pytest.fixture
async def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[FaultyProxy]:
    async with await asyncio.start_server(upstream.serve, HOST, 0) as server:
        async with FaultyProxy([server.sockets[0].getsockname()[:2]]) as running:
            yield running
        await upstream.until_left()


async def test_in_fair_weather_it_is_not_there(proxy: FaultyProxy, call: Call) -> None:
    line = await call(proxy)
    large = Random(1).randbytes(3 << 20)
    assert await line.ask(b"hello") == b"hello"
    assert await line.ask(large) == large
    assert await line.ask(b"bye") == b"bye"
    assert await line.reader.read() == b""
    line.writer.close()


async def test_the_end_of_a_client_reaches_the_server(
    proxy: FaultyProxy, call: Call, upstream: Upstream
) -> None:
    line = await call(proxy)
    line.writer.write(b"last words")
    line.writer.write_eof()
    assert await line.reader.read() == b"last words"
    await upstream.until_left()


async def test_cut_at_once(proxy: FaultyProxy, call: Call, upstream: Upstream) -> None:
    lines = [await call(proxy) for _ in range(2)]
    for line in lines:
        assert await line.ask(b"hello") == b"hello"
    proxy.cut()
    assert [await line.rest() for line in lines] == [None, None]
    await upstream.until_left()
    assert await (await call(proxy)).ask(b"again") == b"again"


async def test_cut_in_the_middle_of_what_comes_down(
    proxy: FaultyProxy, call: Call, upstream: Upstream
) -> None:
    line = await call(proxy)
    assert await line.ask(b"hello") == b"hello"
    proxy.cut(after=4, direction="down")
    assert await line.ask(b"123") == b"123"
    line.writer.write(b"4567")
    with pytest.raises(ConnectionResetError):
        await line.reader.readexactly(2)
    assert upstream.heard == b"hello1234567"


async def test_cut_in_the_middle_of_what_goes_up(proxy: FaultyProxy, call: Call, upstream: Upstream) -> None:
    line = await call(proxy)
    await line.ask(b"hello")
    proxy.cut(after=3, direction="up")
    line.writer.write(b"abcdef")
    assert await line.rest() is None
    await upstream.until_left()
    assert upstream.heard == b"helloabc"


async def test_new_connections_are_cut_after_so_many_bytes(proxy: FaultyProxy, call: Call) -> None:
    old = await call(proxy)
    await old.ask(b"hello")
    proxy.weather = Weather(cuts_after=2)
    new = await call(proxy)
    new.writer.write(b"abc")
    assert await new.rest() is None
    assert await old.ask(b"still") == b"still"


async def test_half_open_towards_the_server(proxy: FaultyProxy, call: Call, upstream: Upstream) -> None:
    line = await call(proxy)
    await line.ask(b"hello")
    proxy.half_open("up")
    line.writer.write(b"unheard")
    assert await line.hears_nothing()
    assert proxy.swallowed == len(b"unheard")
    proxy.weather = FAIR
    assert await (await call(proxy)).ask(b"another") == b"another"
    assert await line.hears_nothing()
    assert (upstream.heard, upstream.open) == (b"helloanother", 2)
    proxy.cut()


async def test_half_open_towards_the_client(proxy: FaultyProxy, call: Call, upstream: Upstream) -> None:
    line = await call(proxy)
    await line.ask(b"hello")
    proxy.half_open("down")
    line.writer.write(b"bye")
    await upstream.until_heard(b"bye")
    assert await line.hears_nothing()
    assert not line.reader.at_eof()


async def test_half_open_hides_the_end_of_a_client(
    proxy: FaultyProxy, call: Call, upstream: Upstream
) -> None:
    line = await call(proxy)
    await line.ask(b"hello")
    proxy.half_open()
    line.writer.close()
    await line.writer.wait_closed()
    assert upstream.open == 1
    proxy.cut()


async def test_new_connections_are_refused(proxy: FaultyProxy, call: Call) -> None:
    old = await call(proxy)
    await old.ask(b"hello")
    proxy.weather = Weather(refuses=True)
    assert await (await call(proxy)).rest() is None
    assert await old.ask(b"still") == b"still"
    assert proxy.accepted == 2


async def test_new_connections_are_swallowed(proxy: FaultyProxy, call: Call, upstream: Upstream) -> None:
    proxy.weather = Weather(swallows=True)
    line = await call(proxy)
    line.writer.write(b"anyone?")
    assert await line.hears_nothing()
    assert upstream.heard == b""


async def test_chunks_are_held_back(proxy: FaultyProxy, call: Call) -> None:
    line = await call(proxy)
    proxy.weather = Weather(delay=0.05)
    began = time.monotonic()
    assert await line.ask(b"hello") == b"hello"
    assert time.monotonic() - began >= 0.1  # up and down


async def test_bytes_are_held_back(proxy: FaultyProxy, call: Call) -> None:
    line = await call(proxy)
    proxy.weather = Weather(bytes_per_second=5_000)
    began = time.monotonic()
    assert await line.ask(b"x" * 1_000) == b"x" * 1_000
    assert time.monotonic() - began >= 0.2  # up and down, at once at best


async def test_websockets_are_blocked_and_http_is_not() -> None:
    async def socket(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        if request.path == "/plain":
            return aiohttp.web.Response(text="plain")
        answer = aiohttp.web.WebSocketResponse()
        await answer.prepare(request)
        await answer.send_str("open")
        await answer.close()
        return answer

    app = aiohttp.web.Application()
    app.router.add_get("/{any}", socket)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await (site := aiohttp.web.TCPSite(runner, HOST, 0)).start()
    assert site._server is not None
    [address] = [one.getsockname()[:2] for one in site._server.sockets]  # type: ignore[attr-defined]
    async with FaultyProxy([address]) as proxy, aiohttp.ClientSession() as http:
        for blocked in (False, True):
            proxy.weather = Weather(refuses_upgrades=blocked)
            async with http.get(f"{proxy.url}/plain") as answer:
                assert await answer.text() == "plain"
            if blocked:
                with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                    await http.ws_connect(f"{proxy.url}/socket")
            else:
                async with http.ws_connect(f"{proxy.url}/socket") as line:
                    assert await line.receive_str() == "open"
    await runner.cleanup()


async def test_connections_go_to_all_servers(call: Call) -> None:
    upstreams = [Upstream(), Upstream()]
    async with contextlib.AsyncExitStack() as stack:
        start = asyncio.start_server
        servers = [await stack.enter_async_context(await start(one.serve, HOST, 0)) for one in upstreams]
        addresses = [one.sockets[0].getsockname()[:2] for one in servers]
        async with FaultyProxy(addresses, Random(3)) as proxy:
            for _ in range(12):
                assert await (await call(proxy)).ask(b"x") == b"x"
        for one in upstreams:
            assert one.heard
            await one.until_left()


async def test_a_server_that_is_not_there(call: Call) -> None:
    async with FaultyProxy([(HOST, 9)]) as proxy:
        assert await (await call(proxy)).rest() is None


def test_a_schedule_follows_from_its_seed() -> None:
    assert schedule(Random(5), 50) == schedule(Random(5), 50)
    assert {fault.name for _, fault in schedule(Random(5), 200)} == set(NAMES)


async def test_every_fault_can_strike(proxy: FaultyProxy, call: Call) -> None:
    for name in NAMES:
        Fault(name, 100).strike(proxy)
