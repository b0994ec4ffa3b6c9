"""Scripts the official Phoenix client, which runs under Node (`phoenix_client.mjs`)."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
PATIENCE = 15.0
PUSH_SECONDS = 25.0
"""A little more than what the client itself waits for an answer."""
LINE_BYTES = 64 * 1024 * 1024


class PushFailed(Exception):
    """A join or push was answered with an error, or with nothing."""

    def __init__(self, status: str, response: Any) -> None:
        super().__init__(f"{status}: {response}")
        self.code: str = response["error"]["code"] if status == "error" else status


class Witness:
    """Something that events happen to, and that can be waited for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def happened(self, event: str, payload: Any) -> None:
        """Note an event."""
        self.events.append((event, payload))
        self._news.set()

    def payloads(self, event: str) -> list[Any]:
        """What came with these events, oldest first."""
        return [payload for name, payload in self.events if name == event]

    async def until(self, holds: Callable[[], object], within: float = PATIENCE) -> None:
        """Wait until this holds; it is looked at after every event."""
        try:
            async with asyncio.timeout(within):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            recent = ", ".join(f"{event} {str(payload)[:200]}" for event, payload in self.events[-8:])
            raise AssertionError(f"{self.name}: not within {within:g} s. Last: {recent}") from None

    async def event(self, event: str, within: float = PATIENCE) -> Any:
        """Wait for the first such event; what came with it."""
        await self.until(lambda: self.payloads(event), within)
        return self.payloads(event)[0]


class Channel(Witness):
    """A topic of a socket, as the client sees it."""

    def __init__(self, client: "Phoenix", name: str) -> None:
        super().__init__(name)
        self._client = client
        self.log: list[dict[str, Any]] = []
        self.joins: list[dict[str, Any]] = []

    def happened(self, event: str, payload: Any) -> None:
        """Note an event, and what it brings of the log."""
        if event == "message":
            self.log.append(payload)
        elif (
            event == "phx_reply" and isinstance(payload["response"], dict) and "epoch" in payload["response"]
        ):
            self.joins.append(payload["response"])
            self.log += payload["response"]["messages"]
        super().happened(event, payload)

    @property
    def seqs(self) -> list[int]:
        """Every seq that came, in the order in which it came, of join replies and of pushes."""
        return [message["seq"] for message in self.log]

    @property
    def here(self) -> dict[str, int]:
        """Who is here by what the client's own Presence made of it: participant → number of sockets."""
        synced = self.payloads("here")
        return dict(synced[-1]) if synced else {}

    async def seq(self, seq: int, within: float = PATIENCE) -> dict[str, Any]:
        """Wait for the message with this seq."""
        await self.until(lambda: self.log and self.log[-1]["seq"] >= seq, within)
        return next(message for message in self.log if message["seq"] == seq)

    async def push(self, event: str, payload: Any = None) -> Any:
        """Push and wait for the answer. Raises `PushFailed`."""
        return await self._client.call("push", channel=self.name, event=event, payload=payload or {})

    async def send(self, text: str, **more: Any) -> Any:
        """Send a message and wait until it is stored."""
        return await self.push("send", {"text": text, **more})

    async def leave(self) -> None:
        """Leave the topic."""
        await self._client.call("leave", channel=self.name)


class Socket(Witness):
    """A socket of the client."""

    def __init__(self, client: "Phoenix", name: str) -> None:
        super().__init__(name)
        self._client = client

    async def join(self, topic: str, **params: Any) -> Channel:
        """Join a topic and wait for the answer. Raises `PushFailed`."""
        channel = self._client.channel()
        await self._client.call("join", socket=self.name, channel=channel.name, topic=topic, params=params)
        return channel

    async def drop(self) -> None:
        """Cut the connection without a goodbye, and stay away."""
        await self._client.call("drop", socket=self.name)

    async def reconnect(self, url: str | None = None) -> None:
        """Come back, perhaps to another process; the topics join again by themselves."""
        await self._client.call("reconnect", socket=self.name, url=url and _socket_url(url))

    async def close(self) -> None:
        """Close it for good."""
        await self._client.call("close", socket=self.name)


class Phoenix:
    """One Node process with any number of sockets."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._witnesses: dict[str, Witness] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        self._node = await asyncio.create_subprocess_exec(
            *("node", str(HERE / "phoenix_client.mjs")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._node.stdin is not None
        self._node.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._node.wait(), PATIENCE)
        if self._node.returncode is None:
            self._node.kill()
        await self._reader
        await self._node.wait()

    async def connect(self, url: str, *, vsn: str = "2.0.0", **params: str) -> Socket:
        """Open a socket and wait until it is open."""
        socket = Socket(self, f"socket{next(self._numbers)}")
        self._witnesses[socket.name] = socket
        await self.call("connect", socket=socket.name, url=_socket_url(url), params=params, vsn=vsn)
        return socket

    def channel(self) -> Channel:
        """A channel that is not joined yet."""
        channel = Channel(self, f"channel{next(self._numbers)}")
        self._witnesses[channel.name] = channel
        return channel

    async def call(self, do: str, **arguments: Any) -> Any:
        """Have the client do something; what it answered. Raises `PushFailed`."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps({"call": number, "do": do, **arguments}).encode() + b"\n")
        async with asyncio.timeout(PUSH_SECONDS):
            status, response = await answer
        if status != "ok":
            raise PushFailed(status, response)
        return response

    async def _read(self) -> None:
        assert self._node.stdout is not None
        while line := await self._node.stdout.readline():
            told = json.loads(line)
            if "call" in told:
                self._answers.pop(told["call"]).set_result((told["status"], told["response"]))
            else:
                name = told.get("channel") or told["socket"]
                self._witnesses[name].happened(told["event"], told.get("payload"))
        for answer in self._answers.values():
            answer.cancel()


def _socket_url(url: str) -> str:
    return url.replace("http", "ws", 1)
