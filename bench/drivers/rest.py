"""Appends over REST: keep-alive connections with one request under way on each."""

import asyncio
import re
from itertools import count
from time import perf_counter
from typing import Any

import orjson

from bench.drivers.harness import Plan, Result, Window, drive, percentile, until

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Sends the next append as soon as the last one is answered."""

    def __init__(self, plan: Plan, number: int, window: Window) -> None:
        self.acknowledged: list[tuple[str, int, str]] = []
        self.faults: list[str] = []
        self.latencies: list[float] = []
        self.idle = True
        self._window = window
        self._number = number
        self._count = count()
        self._conversations: list[tuple[str, str]] = plan["conversations"]
        self._head = f"authorization: Bearer {plan['key']}\r\ncontent-type: application/json\r\nhost: {plan['host']}\r\n"
        self._run: str = plan["run"]
        self._text: str = plan["text"]
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._append()

    def _append(self) -> None:
        number = next(self._count)
        # A step of its own for each connection, so that they meet in changing conversations.
        place = (self._number + number * (2 * self._number + 1)) % len(self._conversations)
        key, sender_id = self._conversations[place]
        client_id = f"{self._run}-{self._number}-{number}"
        body = orjson.dumps({"sender_id": sender_id, "text": self._text, "client_id": client_id})
        head = f"POST /api/conversations/{key}/messages HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n\r\n"
        self.idle = False
        self._sent = perf_counter()
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, end) if end > 0 else None
        if length is None or len(self._received) < end + 4 + int(length[1]):
            return
        answer, self._received = self._received, b""
        now = self._window.note()
        self.idle = True
        if not answer.startswith(b"HTTP/1.1 201"):
            self.faults.append(answer[:300].decode(errors="replace"))
            return
        message = orjson.loads(answer[end + 4 :])
        self.acknowledged.append((message["conversation"], message["seq"], message["id"]))
        if self._window.opens <= now:
            self.latencies.append(now - self._sent)
        if now < self._window.closes:
            self._append()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.idle:
            self.faults.append("the connection was lost before the answer")


async def main(plan: Plan) -> Result:
    """Append for the planned time, then wait for the last answers."""
    loop = asyncio.get_running_loop()
    window = Window(plan)
    connections = [Connection(plan, number, window) for number in range(plan["connections"])]
    for connection in connections:
        await loop.create_connection(lambda one=connection: one, "127.0.0.1", plan["port"])  # type: ignore[misc]
    await window.wait()
    await until(lambda: all(connection.idle for connection in connections), 5)
    latencies = [latency for connection in connections for latency in connection.latencies]
    faults = [fault for connection in connections for fault in connection.faults]
    faults += ["an append was not answered within 5 s" for connection in connections if not connection.idle]
    return {
        "per_second": window.count / window.seconds,
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "acknowledged": [entry for connection in connections for entry in connection.acknowledged],
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
