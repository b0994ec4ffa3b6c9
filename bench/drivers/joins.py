"""Coming back: from the join with `after` until the last of the messages that were missed has come."""

import asyncio
from time import perf_counter
from typing import Any

from bench.drivers.harness import Plan, Result, drive, mark, percentile
from bench.drivers.websocket import Socket

PATIENCE_SECONDS = 5.0


class Returning(Socket):
    """Joins with what it has seen, and notes how long it takes to have seen everything."""

    def __init__(self) -> None:
        super().__init__()
        self._target = 0
        self._whole: asyncio.Future[None] | None = None

    async def come_back(self, topic: str, after: int, last: int) -> float:
        """Join, wait until all of (after, last] has come, leave; returns the seconds until the last message was there."""
        self.seen[topic] = after
        self._target = last
        self._whole = asyncio.get_running_loop().create_future()
        began = perf_counter()
        answer = await self.request(topic, "phx_join", {"after": after})
        if not answer["recovered"]:
            self.faults.append(f"{topic}: what was missed after {after} was not recovered")
            return 0.0
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._whole
        took = perf_counter() - began
        await self.request(topic, "phx_leave", {})
        return took

    def joined(self, topic: str, response: Any) -> None:
        """The first page is in the reply; a leave's reply has none."""
        for message in response.get("messages", ()):
            self.take_message(topic, message)

    def message(self, topic: str, message: Any) -> None:
        if message["seq"] == self._target and self._whole is not None and not self._whole.done():
            self._whole.set_result(None)


async def main(plan: Plan) -> Result:
    """Come back on so many sockets at once, to one conversation after the other, until the planned time is over.

    What was begun is finished, and counts: a join is long beside the planned time.
    """
    took: list[float] = []
    sockets = [await Returning.connect(plan["port"], plan["token"]) for _ in range(plan["sockets"])]
    last = plan["last_seq"]
    began = perf_counter()

    async def again_and_again(number: int, socket: Returning) -> None:
        turn = number
        while turn == number or perf_counter() < began + plan["seconds"]:
            key = plan["keys"][turn % len(plan["keys"])]
            turn += len(sockets)
            took.append(await socket.come_back(f"conversation:{key}", last - plan["missed"], last))

    mark("opens")
    work = (again_and_again(number, socket) for number, socket in enumerate(sockets))
    results = await asyncio.gather(*work, return_exceptions=True)
    seconds = perf_counter() - began
    mark("closes")
    faults = [f"{type(result).__name__}: {result}" for result in results if isinstance(result, BaseException)]
    faults += [fault for socket in sockets for fault in socket.faults]
    for socket in sockets:
        socket.close()
    return {
        "p50_ms": percentile(took, 0.5) * 1000,
        "p99_ms": percentile(took, 0.99) * 1000,
        "per_second": len(took) / seconds,
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
