"""People who come and go: joins, sends, typing, reading, long polls, event streams; and the server's memory meanwhile."""

import asyncio
from random import Random
from time import perf_counter
from typing import Any

import orjson
import psutil

from bench.drivers.harness import Plan, Result, drive
from bench.drivers.websocket import JOIN_REF, Socket

PATIENCE = 20.0
SAMPLE_SECONDS = 0.5
WAIT_SECONDS = 1
"""How long a long poll waits when nothing is said."""


class Guest(Socket):
    """A socket that asks, and waits for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._number = 0

    async def ask(self, topic: str, event: str, payload: dict[str, Any]) -> Any:
        """Push an event and wait for its reply."""
        self._number += 1
        ref = str(self._number)
        answer = self._pending[ref] = asyncio.get_running_loop().create_future()
        self.write(orjson.dumps([JOIN_REF, ref, topic, event, payload]))
        async with asyncio.timeout(PATIENCE):
            return await answer

    def _frame(self, text: bytes) -> None:
        _, ref, topic, event, payload = orjson.loads(text)
        if event == "phx_reply" and ref in self._pending:
            if "recovered" in payload["response"]:  # a join: what is pushed from here on comes after its page
                page = payload["response"]["messages"]
                self.seen[topic] = page[-1]["seq"] if page else 0
            self._pending.pop(ref).set_result(payload)
        elif event != "message" or topic in self.seen:  # after a leave some may still be on their way
            super()._frame(text)


class Churn:
    """What the guests share. `operations` counts what was done, by kind."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.operations: dict[str, int] = {}
        self.faults: list[str] = []
        self._closes = perf_counter() + plan["seconds"]

    @property
    def count(self) -> int:
        """Operations so far."""
        return sum(self.operations.values())

    @property
    def over(self) -> bool:
        """Whether the time has passed."""
        return perf_counter() >= self._closes

    def done(self, kind: str) -> None:
        """Count one operation."""
        self.operations[kind] = self.operations.get(kind, 0) + 1

    async def guest(self, number: int) -> None:
        """Visit, in one way after the other, until the time has passed."""
        random = Random(number)  # the same walk every time
        ways = (self._talk, self._talk, self._look, self._poll, self._stream)
        while not self.over:
            token, keys = random.choice(self.plan["people"])
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    await random.choice(ways)(random, token, random.choice(keys))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.faults.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.1)

    async def _talk(self, random: Random, token: str, key: str) -> None:
        guest = await Guest.connect(self.plan["port"], token)
        topic = f"conversation:{key}"
        try:
            seq = (await self._ask(guest, topic, "phx_join", {"limit": 1}))["last_seq"]
            for number in range(random.randrange(6)):
                await self._ask(guest, topic, "typing", {"on": number % 2 == 0})
                said = {"text": self.plan["text"], "client_id": f"{self.plan['run']}-{random.random()}"}
                seq = (await self._ask(guest, topic, "send", said)).get("seq", seq)
            await self._ask(guest, topic, "read", {"seq": seq})
            if random.random() < 0.5:
                await self._ask(guest, topic, "phx_leave", {})
                del guest.seen[topic]
                await self._ask(guest, topic, "phx_join", {"limit": 1})
        finally:
            self.faults += guest.faults
            guest.close()
            self.done("socket")

    async def _look(self, random: Random, token: str, key: str) -> None:
        """The inbox, and a conversation from its beginning."""
        guest = await Guest.connect(self.plan["port"], token)
        try:
            owner = self.plan["owners"][token]
            await self._ask(guest, f"inbox:{owner}", "phx_join", {})
            topic = f"conversation:{key}"
            await self._ask(guest, topic, "phx_join", {"after": 0})
            await self._ask(guest, topic, "history", {"before": 100, "limit": 20})
            await self._ask(guest, "phoenix", "heartbeat", {})
        finally:
            self.faults += guest.faults
            guest.close()
            self.done("socket")

    async def _ask(self, guest: Guest, topic: str, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        reply = await guest.ask(topic, event, payload)
        if reply["status"] != "ok":
            self.faults.append(f"{event}: {reply['response']}")
        self.done(event)
        response: dict[str, Any] = reply["response"]
        return response

    async def _poll(self, random: Random, token: str, key: str) -> None:
        """Now and then one gives up before the answer."""
        head = await self._newest(token, key)
        query = f"?after={head}&wait={WAIT_SECONDS}"
        patience = None if random.random() < 0.8 else WAIT_SECONDS / 2
        await self._get(token, f"/api/conversations/{key}/messages{query}", patience)
        self.done("long poll")

    async def _newest(self, token: str, key: str) -> int:
        body = await self._get(token, f"/api/conversations/{key}/messages?limit=1")
        last_seq: int = orjson.loads(body)["last_seq"]
        return last_seq

    async def _stream(self, random: Random, token: str, key: str) -> None:
        """Follow for a moment, then hang up in the midst of it."""
        path = random.choice(
            (f"/api/conversations/{key}/events", f"/api/inbox/{self.plan['owners'][token]}/events")
        )
        await self._get(token, path, random.random() / 2)
        self.done("event stream")

    async def _get(self, token: str, path: str, patience: float | None = None) -> bytes:
        """The body of an answer, or what came of it until the patience ended."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plan["port"])
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.plan['port']}\r\nAuthorization: Bearer {token}\r\n"
        )
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        answer = b""
        try:
            async with asyncio.timeout(patience):
                while data := await reader.read(65_536):
                    answer += data
        except TimeoutError:
            pass
        finally:
            writer.transport.abort()
        status, _, body = answer.partition(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 200") and (answer or patience is None):
            self.faults.append(f"GET {path}: {answer[:200]!r}")
        return body

    async def watch(self) -> list[tuple[int, int]]:
        """Operations and the server's resident bytes, again and again."""
        server = psutil.Process(self.plan["pid"])
        samples = []
        while not self.over:
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.append((self.count, int(server.memory_info().rss)))
        return samples


async def main(plan: Plan) -> Result:
    """Let the guests come and go for the planned time."""
    churn = Churn(plan)
    samples, *_ = await asyncio.gather(churn.watch(), *(churn.guest(n) for n in range(plan["guests"])))
    return {"samples": samples, "operations": churn.operations, "faults": churn.faults[:10]}


if __name__ == "__main__":
    drive(main)
