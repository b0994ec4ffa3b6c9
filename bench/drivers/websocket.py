"""A WebSocket client of the Phoenix protocol, as little as a driver needs; it checks the order of what it gets."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from os import urandom
from typing import Any, Self

import orjson

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
JOIN_REF = "1"


def client_frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame of a client (RFC 6455, section 5.2); its mask is zero, so that the payload is as it was."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 65_536:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + size + b"\0\0\0\0" + payload


def server_frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The whole frames in this data: opcode, payload, and where the frame ends."""
    start, available = 0, len(data)
    while available - start >= 2:
        length, header = data[start + 1], 2
        if length >= 126:
            header = 4 if length == 126 else 10
            length = int.from_bytes(data[start + 2 : start + header], "big")
        end = start + header + length
        if available < start + header or available < end:
            return
        yield data[start] & 15, data[start + header : end], end
        start = end


class Socket(asyncio.Protocol):
    """One connection. `seen` holds the newest seq of each joined topic; whatever breaks the order is a fault.

    `rest` is the beginning of a frame whose end has not come yet.
    """

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.faults: list[str] = []
        self.rest = b""
        self._open = False
        self._closing = False
        self._answers: dict[str, asyncio.Future[Any]] = {}

    @classmethod
    async def connect(cls, port: int, token: str, *arguments: Any) -> Self:
        """An open socket of the participant whose token this is."""
        loop = asyncio.get_running_loop()
        transport, socket = await loop.create_connection(lambda: cls(*arguments), "127.0.0.1", port)
        socket._answers["upgrade"] = loop.create_future()
        key = b64encode(urandom(16)).decode()
        transport.write(
            f"GET /socket/websocket?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await socket._answers["upgrade"]
        return socket

    async def join(self, topic: str) -> int:
        """Join a topic; returns the newest seq at that moment."""
        answer = await self.request(topic, "phx_join", {"limit": 1})
        last_seq: int = answer["last_seq"]
        return last_seq

    async def request(self, topic: str, event: str, payload: dict[str, Any]) -> Any:
        """Join or leave a topic; returns the response. Raises `ConnectionError` when it is refused."""
        answer = self._answers[topic] = asyncio.get_running_loop().create_future()
        self.write(orjson.dumps([JOIN_REF, topic, topic, event, payload]))
        return await answer

    def write(self, text: bytes) -> None:
        """Send one text frame."""
        self.transport.write(client_frame(TEXT, text))

    def close(self) -> None:
        """Hang up."""
        self._closing = True
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self.faults.append(f"the connection was lost: {exc}")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the connection was lost"))

    def data_received(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.rest = head
                return
            self._upgraded(head)
        self.take(data)

    def _upgraded(self, head: bytes) -> None:
        answer = self._answers.pop("upgrade")
        if head.startswith(b"HTTP/1.1 101"):
            self._open = True
            answer.set_result(None)
        else:
            answer.set_exception(ConnectionError(head[:200].decode(errors="replace")))

    def take(self, data: bytes) -> None:
        """Handle the whole frames in the data and keep the rest."""
        end = 0
        for opcode, payload, end in server_frames(data):  # noqa: B007  # `end` is used below
            if opcode == TEXT:
                self._frame(payload)
            elif opcode == PING:
                self.transport.write(client_frame(PONG, payload))
            elif opcode == CLOSE:
                self.faults.append(f"closed by the server: {int.from_bytes(payload[:2], 'big')}")
        self.rest = data[end:]

    def _frame(self, text: bytes) -> None:
        _, ref, topic, event, payload = orjson.loads(text)
        if event == "message":
            self.take_message(topic, payload)
        elif event == "phx_reply":
            if ref in self._answers:
                self._answered(ref, payload)
            else:
                self.reply(ref, payload)
        else:
            self.other(topic, event, payload)

    def take_message(self, topic: str, message: Any) -> None:
        """Note a message; it is a fault unless it is the next one."""
        seq = message["seq"]
        if seq != self.seen[topic] + 1:
            self.faults.append(f"{topic}: seq {seq} came after {self.seen[topic]}")
        self.seen[topic] = seq
        self.message(topic, message)

    def _answered(self, topic: str, payload: Any) -> None:
        answer = self._answers.pop(topic)
        if payload["status"] == "ok":
            self.joined(topic, payload["response"])
            answer.set_result(payload["response"])
        else:
            answer.set_exception(ConnectionError(str(payload["response"])))

    def joined(self, topic: str, response: Any) -> None:
        """A join was answered (or a leave, with nothing): what was missed before it is nobody's business here."""
        self.seen[topic] = response.get("last_seq", 0)

    def message(self, topic: str, message: Any) -> None:
        """A message of a joined topic has come, in order."""

    def reply(self, ref: str, payload: Any) -> None:
        """A frame that is no join was answered."""

    def other(self, topic: str, event: str, payload: Any) -> None:
        """Something else was pushed: presence, a run, a delta."""


def send_frame(ref: str, topic: str, text: str, client_id: str) -> bytes:
    """The text of a frame that appends a message."""
    return orjson.dumps([JOIN_REF, ref, topic, "send", {"text": text, "client_id": client_id}])
