"""Both SDKs behind one face, for tests that ask the same of each: a client that follows one conversation and sends to it."""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from fleetlm_client import AsyncFleetLM, events
from fleetlm_client.retry import Timing

from tests.e2e.javascript import node

HERE: Final = Path(__file__).resolve().parent
LINE_BYTES: Final = 16 * 1024 * 1024

Transport = Literal["websocket", "sse", "auto"]

TIMING: Final = {
    "heartbeat": 0.3,
    "reply": 0.6,
    "connect": 0.8,
    "silence": 1.2,
    "backoff": 0.03,
    "backoff_max": 0.2,
    "socket_retry": 0.5,
}
"""The SDKs' intervals, in seconds: a tenth or less of what they are by default."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as a client was given it."""

    seq: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Where a client was told that its message is stored."""

    seq: int
    id: str


class SdkClient(ABC):
    """A participant that follows one conversation from its first message on, and sends to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Seen] = []
        """What the iteration over the messages gave, in its order."""
        self.seen_again: list[Seen] | None = None
        """What a second one gave, which began later; None if there is none."""
        self.sent: list[str] = []
        self.acks: dict[str, Ack] = {}
        """By text: no text is sent twice."""
        self.resets: list[tuple[str, int]] = []
        """The epochs of other logs that it was told to begin anew with, and how much it had seen before."""
        self.faults: list[str] = []
        """What must not happen: a send that failed, an iteration that ended."""
        self._news = asyncio.Event()

    @abstractmethod
    def send(self, text: str) -> None:
        """Hand a message to the SDK, and do not wait."""

    def follow_again(self) -> None:
        """Begin a second iteration over the same log, if there is none."""
        if self.seen_again is None:
            self.seen_again = []
            self._follow_again()

    @abstractmethod
    def _follow_again(self) -> None:
        """See `follow_again`."""

    @abstractmethod
    async def state(self) -> dict[str, Any]:
        """What else the SDK knows: `epoch`, and whatever it has."""

    @abstractmethod
    async def close(self) -> None:
        """End it."""

    @property
    def unresolved(self) -> list[str]:
        """What was sent, and neither acknowledged nor refused."""
        return [text for text in self.sent if text not in self.acks]

    def has_seen(self, seq: int) -> bool:
        """Whether every iteration has come this far."""
        lists = [self.seen] if self.seen_again is None else [self.seen, self.seen_again]
        return all(one and one[-1].seq >= seq for one in lists)

    def happened(self) -> None:
        """Something has changed."""
        self._news.set()

    async def until(self, holds: Callable[[], object], within: float, what: str) -> None:
        """Return when this holds; it is looked at after every change."""
        try:
            async with asyncio.timeout(within):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seqs = [one.seq for one in self.seen][-5:]
            about = f"seen {len(self.seen)} up to {seqs}, unresolved {self.unresolved}, {self.faults}"
            raise AssertionError(f"{self.name}: not within {within:g} s: {what} ({about})") from None


class TypeScriptSdk:
    """A Node process with the TypeScript SDK in it."""

    name = "typescript"

    def __init__(self, build: Path) -> None:
        """`build`: what `npm run build` makes."""
        self._build = build
        self._clients: dict[str, TypeScriptClient] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *(node(), "sdk_driver.mjs", (self._build / "index.js").as_uri()),
            cwd=HERE,
            stdin=pipe,
            stdout=pipe,
            limit=LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def open(self, name: str, url: str, key: str, transport: Transport) -> "TypeScriptClient":
        """A client that begins to follow the conversation."""
        client = self._clients[name] = TypeScriptClient(self, name)
        timing = {f"{_camel(one)}Ms": seconds * 1_000 for one, seconds in TIMING.items()}
        what = {"url": url, "participant": name, "key": key, "transport": transport, "timing": timing}
        self.tell({"do": "open", "client": name, **what})
        return client

    def tell(self, command: dict[str, Any]) -> None:
        """Have the driver do something."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            client = self._clients.get(told.pop("client"))
            if client is not None:
                client.take(told.pop("event"), told)
        for client in self._clients.values():
            client.faults.append("the process of the SDK has ended")
            client.happened()

    def forget(self, name: str) -> None:
        """A client is closed."""
        self._clients.pop(name, None)


class TypeScriptClient(SdkClient):
    """A client in the Node process."""

    def __init__(self, sdk: TypeScriptSdk, name: str) -> None:
        super().__init__(name)
        self._sdk = sdk
        self.told: list[int] = []
        """The seqs that `on("message")` told of."""
        self._snapshot: dict[str, Any] | None = None
        self._closed = False

    def send(self, text: str) -> None:
        self.sent.append(text)
        self._sdk.tell({"do": "send", "client": self.name, "text": text})

    def _follow_again(self) -> None:
        self._sdk.tell({"do": "follow_again", "client": self.name})

    async def state(self) -> dict[str, Any]:
        self._snapshot = None
        self._sdk.tell({"do": "snapshot", "client": self.name})
        await self.until(lambda: self._snapshot, 5, "its snapshot")
        assert self._snapshot
        return self._snapshot

    async def close(self) -> None:
        self._sdk.tell({"do": "close", "client": self.name})
        await self.until(lambda: self._closed or self.faults, 5, "its end")
        self._sdk.forget(self.name)

    def take(self, event: str, what: dict[str, Any]) -> None:
        """Note what the driver tells."""
        match event:
            case "message":
                self.seen.append(Seen(what["seq"], what["id"], what["text"]))
            case "again":
                assert self.seen_again is not None
                self.seen_again.append(Seen(what["seq"], what["id"], what["text"]))
            case "told":
                self.told.append(what["seq"])
            case "sent":
                self.acks[what["text"]] = Ack(what["seq"], what["id"])
            case "reset":
                self.resets.append((what["epoch"], len(self.seen)))
            case "snapshot":
                self._snapshot = what
            case "closed":
                self._closed = True
            case _ if not (event == "ended" and what["why"] is None):
                self.faults.append(f"{event}: {what}")
        self.happened()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class PythonSdk:
    """The Python SDK, in this process."""

    name = "python"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def open(self, name: str, url: str, key: str, transport: Transport) -> "PythonClient":
        """A client that begins to follow the conversation."""
        return PythonClient(name, url, key, transport)


class PythonClient(SdkClient):
    """A client in this process."""

    def __init__(self, name: str, url: str, key: str, transport: Transport) -> None:
        super().__init__(name)
        self._fleet = AsyncFleetLM(
            url, participant_id=name, transport=transport, timing=Timing(**TIMING), retry_for=None
        )
        self._conversation = self._fleet.conversation(key)
        self._epochs: list[str] = []
        self._tasks = {asyncio.create_task(self._follow(), name=f"{name} follows")}

    def send(self, text: str) -> None:
        self.sent.append(text)
        task = asyncio.create_task(self._send(text), name=f"{self.name} sends {text}")
        self._tasks.add(task)

    def _follow_again(self) -> None:
        self._tasks.add(asyncio.create_task(self._iterate(), name=f"{self.name} follows again"))

    async def state(self) -> dict[str, Any]:
        return {"epoch": self._epochs[-1] if self._epochs else None}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fleet.close()

    async def _send(self, text: str) -> None:
        try:
            sent = await self._conversation.send(text)
            self.acks[text] = Ack(sent.seq, sent.id)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            self.faults.append(f"failed: {text}: {error!r}")
        self.happened()

    async def _follow(self) -> None:
        """Note all that happens."""
        with self._noting_an_end():
            async with contextlib.aclosing(self._conversation.events(after=0)) as happening:
                async for event in happening:
                    match event:
                        case events.MessageEvent(message):
                            self.seen.append(Seen(message.seq, message.id, message.text))
                        case events.Joined():
                            self._epochs.append(event.epoch)
                        case events.ResetEvent(epoch):
                            self.resets.append((epoch, len(self.seen)))
                        case events.ClosedEvent():
                            self.faults.append(repr(event))
                    self.happened()

    async def _iterate(self) -> None:
        """Note the messages alone."""
        assert self.seen_again is not None
        with self._noting_an_end():
            async with contextlib.aclosing(self._conversation.messages(after=0)) as messages:
                async for message in messages:
                    self.seen_again.append(Seen(message.seq, message.id, message.text))
                    self.happened()

    @contextlib.contextmanager
    def _noting_an_end(self) -> Iterator[None]:
        try:
            yield
            self.faults.append("an iteration ended")
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            self.faults.append(f"an iteration ended: {error!r}")
        self.happened()
