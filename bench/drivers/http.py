"""Keep-alive HTTP connections with one request under way on each, as little of a client as a driver needs."""

import asyncio
import re
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from bench.drivers.harness import Plan, Window, percentile, until

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PATIENCE_SECONDS = 5


class Connection(asyncio.Protocol):
    """Makes the next request as soon as the last one is answered, until the window closes."""

    method = "POST"
    status = b"201"

    def __init__(self, plan: Plan, number: int, window: Window) -> None:
        self.faults: list[str] = []
        self.latencies: list[float] = []
        self.idle = True
        self.number = number
        self._window = window
        self._head = f"authorization: Bearer {plan['key']}\r\nhost: 127.0.0.1:{plan['port']}\r\n"
        self._received = b""
        self._wanted = 0

    def next_request(self) -> tuple[str, bytes]:
        """The path and the body of the next request."""
        raise NotImplementedError

    def answered(self, body: bytes) -> int:
        """Look at an answer; how many events it stands for."""
        raise NotImplementedError

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._request()

    def _request(self) -> None:
        path, body = self.next_request()
        about = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        head = f"{self.method} {path} HTTP/1.1\r\n{self._head}{about}\r\n"
        self.idle = False
        self._sent = perf_counter()
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if len(self._received) < self._wanted:
            return
        end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, end) if end > 0 else None
        if length is None:
            return
        self._wanted = end + 4 + int(length[1])
        if len(self._received) < self._wanted:
            return
        answer, self._received, self._wanted = self._received, b"", 0
        self._complete(answer, end + 4)

    def _complete(self, answer: bytes, body_starts: int) -> None:
        self.idle = True
        took = perf_counter() - self._sent
        if answer[9:12] != self.status:
            self.faults.append(answer[:300].decode(errors="replace"))
            return
        now = self._window.note(self.answered(answer[body_starts:]))
        if self._window.opens <= now:
            self.latencies.append(took)
        if now < self._window.closes:
            self._request()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.idle:
            self.faults.append("the connection was lost before the answer")


async def run(plan: Plan, window: Window, connections: Sequence[Connection]) -> dict[str, Any]:
    """Make requests on all connections until the window has closed and the last answers are there."""
    loop = asyncio.get_running_loop()
    for connection in connections:
        await loop.create_connection(lambda one=connection: one, "127.0.0.1", plan["port"])  # type: ignore[misc]
    await window.wait()
    await until(lambda: all(connection.idle for connection in connections), PATIENCE_SECONDS)
    latencies = [latency for connection in connections for latency in connection.latencies]
    faults = [fault for connection in connections for fault in connection.faults]
    faults += [
        f"a request was not answered within {PATIENCE_SECONDS} s" for one in connections if not one.idle
    ]
    return {
        "per_second": window.per_second(),
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "faults": faults[:10],
    }
