"""Sockets without a client library: every frame as it came, and readers that do not read."""

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import aiohttp

from tests.e2e.phoenix import PATIENCE, Witness

SMALL_BUFFER = 8 * 1024


class RawSocket(Witness):
    """A socket of serializer V2; `frames` are all that came, `events` the same as (event, frame)."""

    def __init__(self, name: str, connection: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(name)
        self.frames: list[list[Any]] = []
        self.close_code: int | None = None
        self._connection = connection
        self._refs = count(1)

    async def send(
        self, topic: str, event: str, payload: Any, *, join_ref: str | None = None, ref: str | None = None
    ) -> str:
        """Send one frame; its ref."""
        ref = ref or str(next(self._refs))
        await self._connection.send_json([join_ref, ref, topic, event, payload])
        return ref

    async def reply(self, ref: str, within: float = PATIENCE) -> Any:
        """Wait for the answer to a frame: `{status, response}`."""
        await self.until(lambda: self._replies(ref), within)
        return self._replies(ref)[0]

    async def join(self, topic: str, join_ref: str = "join", **params: Any) -> Any:
        """Join and wait for the answer."""
        return await self.reply(
            await self.send(topic, "phx_join", params, join_ref=join_ref, ref=f"ref-{join_ref}")
        )

    async def closed(self, within: float = PATIENCE) -> int | None:
        """Wait for the end; the code that the server closed it with."""
        await self.until(lambda: self.payloads("closed"), within)
        return self.close_code

    async def read(self) -> None:
        """Note every frame until the end."""
        async for message in self._connection:
            frame = json.loads(message.data)
            self.frames.append(frame)
            self.happened(frame[3], frame)
        self.close_code = self._connection.close_code
        self.happened("closed", self.close_code)

    def _replies(self, ref: str) -> list[Any]:
        return [frame[4] for frame in self.payloads("phx_reply") if frame[1] == ref]


@asynccontextmanager
async def raw_socket(url: str, **params: str) -> AsyncIterator[RawSocket]:
    """An open socket that is read while this context lasts."""
    query = urlencode({"vsn": "2.0.0", **params})
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/socket/websocket?{query}", max_msg_size=0) as connection,
    ):
        opened = RawSocket(f"socket at {url}", connection)
        reading = asyncio.create_task(opened.read())
        try:
            yield opened
        finally:
            await connection.close()
            await reading


class Sleeper:
    """A socket whose reader does not read, over TCP itself, with small buffers of its own."""

    def __init__(self, url: str, participant_id: str) -> None:
        query = urlencode({"vsn": "2.0.0", "participant_id": participant_id})
        key = base64.b64encode(os.urandom(16)).decode()
        self._connect(
            f"{url}/socket/websocket?{query}",
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n",
        )

    @classmethod
    def of_events(cls, url: str) -> Self:
        """The same of an event stream, of which nothing but the head of the answer is read."""
        sleeper = cls.__new__(cls)
        sleeper._connect(url, "")
        return sleeper

    def _connect(self, url: str, headers: str) -> None:
        address = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((address.hostname, address.port))
        head = f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n{headers}\r\n"
        self._socket.sendall(head.encode())
        self._unread = b""
        while b"\r\n\r\n" not in self._unread:
            self._unread += self._socket.recv(1)
        self._unread = b""

    def send(self, frame: list[Any]) -> None:
        """Send a frame."""
        body = json.dumps(frame).encode()
        assert len(body) < 65_536
        mask = os.urandom(4)
        length = bytes((0x80 | len(body),)) if len(body) < 126 else b"\xfe" + struct.pack(">H", len(body))
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))
        self._socket.sendall(b"\x81" + length + mask + masked)

    def frame(self) -> list[Any] | int | None:
        """Read one frame: what it says, the code of a close, or None when the connection is gone."""
        head = self._take(2)
        if head is None:
            return None
        length = head[1]
        if length >= 126:
            size = self._take(2 if length == 126 else 8)
            if size is None:
                return None
            length = int.from_bytes(size, "big")
        body = self._take(length)
        if body is None:
            return None
        opcode = head[0] & 0x0F
        if opcode == 8:
            return int.from_bytes(body[:2], "big")
        if opcode != 1:
            return self.frame()
        frame: list[Any] = json.loads(body)
        return frame

    def close(self) -> None:
        """Give up the connection."""
        self._socket.close()

    def _take(self, size: int) -> bytes | None:
        while len(self._unread) < size:
            try:
                more = self._socket.recv(65_536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self._unread += more
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken
