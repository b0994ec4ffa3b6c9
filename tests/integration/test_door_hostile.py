"""What agents can do to the door, by malice or by accident. Each ends soon, with a clear error, in bounded memory."""

import asyncio
import gzip
import itertools
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agents.door import Patience
from agents.errors import AgentUnreachable, AnswerInvalid, CallError, CallTimedOut
from tests.integration.raw_agent import (
    PATIENCE,
    QUICK,
    Behaviour,
    Talk,
    answering,
    door,
    head,
    post,
    raw_agent,
    response,
)

MIB = 1 << 20
STREAM = head(content_type="text/event-stream")
CHUNKED = head(content_type="text/event-stream", transfer_encoding="chunked")


def sending(*parts: bytes, then_close: bool = False) -> Behaviour:
    """Takes a request, sends this, and then says nothing any more, or hangs up."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(*parts)
        if not then_close:
            await talk.hung_up()

    return behave


def dripping(start: bytes, drop: bytes) -> Behaviour:
    """Takes a request, sends the start, and then a drop every 10 ms, for ever."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(start)
        while True:
            await talk.send(drop)
            await asyncio.sleep(0.01)

    return behave


def pouring(start: bytes, drop: bytes) -> Behaviour:
    """The same, as fast as it can."""

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(start)
        while True:
            await talk.send(drop)

    return behave


async def failure(behaviour: Behaviour, patience: Patience = QUICK, max_bytes: int = MIB) -> CallError:
    """How a call of this agent ends."""
    async with raw_agent(behaviour) as agent, door(patience, max_bytes=max_bytes) as opened:
        with pytest.raises(CallError) as caught:
            async with asyncio.timeout(PATIENCE):
                await post(opened, agent.url)
        return caught.value


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MIB:.1f} MiB"


# Nothing, or too slowly


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with door(QUICK) as opened:
        with pytest.raises(AgentUnreachable, match=r"Connect call failed|Connection refused"):
            await post(opened, f"http://127.0.0.1:{port}/")


async def test_it_accepts_and_says_nothing() -> None:
    error = await failure(sending())
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The agent did not begin to answer within 0.3 s."


async def test_nobody_accepts() -> None:
    """The system takes the connection, and the request, for a program that never looks."""
    with socket.create_server(("127.0.0.1", 0)) as asleep:
        async with door(QUICK) as opened:
            with pytest.raises(CallTimedOut, match="did not begin to answer"):
                await post(opened, f"http://127.0.0.1:{asleep.getsockname()[1]}/")


async def test_it_does_not_take_the_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as asleep:
        async with door(QUICK) as opened:
            with pytest.raises(CallTimedOut, match="did not begin to answer"):
                await post(opened, f"http://127.0.0.1:{asleep.getsockname()[1]}/", b"x" * 32 * MIB)


async def test_it_takes_the_connection_for_tls_and_says_nothing() -> None:
    async def behave(talk: Talk) -> None:
        await talk.hung_up()

    async with raw_agent(behave) as agent, door(QUICK) as opened:
        with pytest.raises(CallTimedOut, match="did not begin to answer"):
            await post(opened, agent.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_a_head_that_drips(start: bytes, drop: bytes) -> None:
    error = await failure(dripping(start, drop))
    assert isinstance(error, CallTimedOut | AnswerInvalid)


async def test_interim_answers_for_ever() -> None:
    with memory_below(128 * MIB):  # what one round of the event loop reads, parsed
        error = await failure(pouring(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1000))
    assert isinstance(error, CallTimedOut)


async def test_an_answer_that_drips() -> None:
    error = await failure(dripping(head(content_type="application/json"), b" "))
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The whole answer was not here within 0.3 s."
    assert error.status == 200


async def test_a_stream_that_falls_silent() -> None:
    error = await failure(sending(STREAM, b"data: {}\n\n"))
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The agent's stream was silent for 0.3 s."


async def test_a_stream_that_never_ends() -> None:
    error = await failure(dripping(STREAM, b":\n"))
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The agent's stream took longer than 0.6 s in all."


async def test_a_stream_that_never_ends_and_never_pauses() -> None:
    error = await failure(pouring(STREAM, b":\n" * 1000), max_bytes=1 << 40)
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The agent's stream took longer than 0.6 s in all."


async def test_a_stream_that_always_has_more_for_a_slow_reader() -> None:
    async def read_slowly(url: str) -> None:
        async with door(QUICK, max_bytes=1 << 40) as opened, opened.call(url, {}, b"") as answer:
            async for _ in answer.chunks():
                await asyncio.sleep(0.05)  # it is slow

    async with raw_agent(pouring(STREAM, b":\n" * 10_000)) as agent, asyncio.timeout(PATIENCE / 2):
        with pytest.raises(CallTimedOut, match=r"longer than 0\.6 s in all"):
            await read_slowly(agent.url)


async def test_a_refusal_that_drips_does_not_hold_up_its_snippet() -> None:
    async with (
        raw_agent(dripping(b"HTTP/1.1 500 Oops\r\n\r\n", b"x")) as agent,
        door() as opened,
        asyncio.timeout(PATIENCE / 2),
        opened.call(agent.url, {}, b"") as answer,
    ):
        assert set(await answer.snippet(1000)) == set(b"x")


# Too much


async def test_an_endless_answer() -> None:
    with memory_below(8 * MIB):
        error = await failure(pouring(head(), b"x" * 65_536))
    assert isinstance(error, AnswerInvalid)
    assert str(error) == f"The answer is over {MIB} bytes."
    assert error.status == 200


async def test_an_endless_stream_of_tiny_chunks() -> None:
    with memory_below(16 * MIB):
        error = await failure(pouring(CHUNKED, b"1\r\nx\r\n" * 10_000), max_bytes=100_000)
    assert isinstance(error, AnswerInvalid | CallTimedOut)


async def test_a_line_of_ten_megabytes() -> None:
    with memory_below(24 * MIB):  # ten of them are the line itself
        line = b'data: "' + b"x" * 10 * MIB + b'"\n\n'
        error = await failure(
            sending(STREAM, *(line[at : at + 65_536] for at in range(0, len(line), 65_536)))
        )
    assert isinstance(error, AnswerInvalid)
    assert str(error) == f"The answer is over {MIB} bytes."


async def test_a_reader_who_is_busy_is_not_buried() -> None:
    stuck: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(STREAM)
        talk.writer.transport.set_write_buffer_limits(high=0)
        for sent in itertools.count(65_536, 65_536):
            talk.writer.write(b"x" * 65_536)
            try:
                async with asyncio.timeout(0.2):
                    await talk.writer.drain()
            except TimeoutError:
                stuck.set_result(sent)
                return

    with memory_below(4 * MIB):
        async with (
            raw_agent(behave) as agent,
            door(max_bytes=1 << 40) as opened,
            opened.call(agent.url, {}, b"") as answer,
            asyncio.timeout(PATIENCE),
        ):
            assert answer.head.is_stream
            assert await stuck < 64 * MIB, "what fits into the system's own buffers"


def bomb(megabytes: int, wbits: int) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
async def test_a_bomb(encoding: str, wbits: int) -> None:
    body = bomb(200, wbits)
    assert len(body) < MIB / 2
    with memory_below(8 * MIB):
        error = await failure(answering(response(body, content_encoding=encoding)))
    assert isinstance(error, AnswerInvalid)
    assert str(error) == f"The answer is over {MIB} bytes."
    assert error.status == 200


async def test_a_bomb_that_no_call_reads_whole() -> None:
    body = bomb(200, 31)
    with memory_below(4 * MIB):
        async with (
            raw_agent(answering(response(body, "500 Oops", content_encoding="gzip"))) as agent,
            door() as opened,
            opened.call(agent.url, {}, b"") as answer,
        ):
            assert await answer.snippet(100) == bytes(100)


async def test_compressed_nothing_for_ever() -> None:
    """Empty members become no byte at all, however many there are."""
    error = await failure(pouring(head(content_encoding="gzip"), gzip.compress(b"") * 1000))
    assert isinstance(error, AnswerInvalid)
    assert str(error) == f"The answer is over {MIB} bytes."


# Not HTTP


@pytest.mark.parametrize(
    "start",
    [
        b"HELLO\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/1.1 200 OK\r\nbad\0name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 10_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"y" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(200)),
    ],
)
async def test_a_head_that_is_none(start: bytes) -> None:
    error = await failure(sending(start))
    assert isinstance(error, AnswerInvalid)
    assert str(error).startswith("The agent's answer is not HTTP: ")
    assert len(str(error)) < 300
    assert str(error).isprintable()


async def test_headers_that_never_end() -> None:
    with memory_below(8 * MIB):
        error = await failure(pouring(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000))
    assert isinstance(error, AnswerInvalid)


@pytest.mark.parametrize(
    "garbage", [b"zz\r\n", b"-5\r\n", b"ffffffffffffffffff\r\n", b"5\r\nhelloworld\r\n", b"\0" * 50]
)
@pytest.mark.parametrize("is_later", [False, True])
async def test_chunks_that_are_none(garbage: bytes, is_later: bool) -> None:
    seen = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.request()
        if is_later:
            await talk.send(CHUNKED, b"5\r\nhello\r\n")
            await seen.wait()
            await talk.send(garbage)
        else:
            await talk.send(CHUNKED + garbage)
        await talk.hung_up()

    async with raw_agent(behave) as agent, door() as opened, asyncio.timeout(PATIENCE / 2):
        with pytest.raises(AnswerInvalid, match="not HTTP") as caught:  # noqa: PT012  # where it fails differs
            async with opened.call(agent.url, {}, b"") as answer:
                async for _ in answer.chunks():
                    seen.set()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nx: y\r\n",
        response(b"x" * 50)[:-20],
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhe",
    ],
)
async def test_it_hangs_up_in_the_middle(start: bytes) -> None:
    error = await failure(sending(start, then_close=True))
    assert isinstance(error, AgentUnreachable)
    assert "hung up" in str(error) or "broke off" in str(error)


async def test_it_resets_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def reset() -> None:
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

        async with door() as opened:
            task = asyncio.create_task(reset())
            with pytest.raises(AgentUnreachable):
                await post(opened, f"http://127.0.0.1:{listening.getsockname()[1]}/")
            await task


async def test_it_promises_more_than_it_sends() -> None:
    error = await failure(sending(response(b"x" * 50)[:-20]))
    assert isinstance(error, CallTimedOut)
    assert str(error) == "The whole answer was not here within 0.3 s."


async def test_it_sends_more_than_it_promises() -> None:
    async with raw_agent(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}and more")) as agent:
        async with door() as opened:
            for _ in range(3):
                with pytest.raises(AnswerInvalid):
                    await post(opened, agent.url)
        assert agent.connections == 3


@pytest.mark.parametrize("is_at_once", [True, False])
async def test_an_answer_to_nothing_is_nobodys_answer(is_at_once: bool) -> None:
    """It would be taken for the answer of the next call, which is about another conversation."""
    push, pushed = asyncio.Event(), asyncio.Event()
    number = itertools.count(1)
    stray = response(b"of another conversation")

    async def behave(talk: Talk) -> None:
        while True:
            await talk.request()
            answer = response(b"%d" % next(number))
            if is_at_once:
                await talk.send(answer + stray)
            else:
                await talk.send(answer)
                await push.wait()
                await talk.send(stray)
                pushed.set()

    async def see_what_came(port: int) -> None:
        # By when this has been through the same event loop and system, the stray answer has, too.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n2")
        writer.close()
        await writer.wait_closed()

    async with raw_agent(behave) as agent, door() as opened, asyncio.timeout(PATIENCE):
        assert await post(opened, agent.url) == b"1"
        push.set()
        if not is_at_once:
            await pushed.wait()
        await see_what_came(agent.port)
        assert await post(opened, agent.url) == b"3"
        assert agent.connections == 3


async def test_an_upgrade_is_a_status() -> None:
    start = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nabc"
    async with (
        raw_agent(sending(start)) as agent,
        door() as opened,
        opened.call(agent.url, {}, b"") as answer,
    ):
        assert answer.head.status == 101
        assert await answer.read() == b""


async def test_a_broken_agent_slows_no_other() -> None:
    async with (
        raw_agent(sending()) as silent,
        raw_agent(answering(response(b"well"))) as sound,
        door() as opened,
        asyncio.timeout(PATIENCE),
    ):
        waiting = [asyncio.create_task(post(opened, silent.url)) for _ in range(200)]
        for _ in range(50):
            assert await post(opened, sound.url) == b"well"
        for task in waiting:
            task.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}


async def test_a_connection_that_breaks_while_nobody_uses_it_is_not_noticed() -> None:
    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n")

    async with raw_agent(behave) as agent, door() as opened:
        for _ in range(3):
            assert await post(opened, agent.url) == b"hello"
            await asyncio.gather(*agent.tasks)
            # One round of the event loop sees the end of the connection.
            reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
            writer.write_eof()
            await reader.read()
            writer.close()
