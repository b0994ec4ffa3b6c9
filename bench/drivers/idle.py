"""The server's memory for each idle joined socket: how its resident set grows over stages of so many sockets."""

import asyncio

import psutil

from bench.drivers.harness import Plan, Result, drive
from bench.drivers.websocket import Socket

AT_ONCE = 20
QUIET_SECONDS = 1.0


async def main(plan: Plan) -> Result:
    """Open the first stage (which warms the server up), then measure the growth of each further one."""
    server = psutil.Process(plan["pid"])
    sockets: list[Socket] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def open_one(token: str, key: str) -> None:
        async with places:
            socket = await Socket.connect(plan["port"], token)
            await socket.join(f"conversation:{key}")
            sockets.append(socket)

    growth: list[float] = []
    before = 0
    for stage in plan["stages"]:
        await asyncio.gather(*(open_one(token, key) for token, key in stage))
        await asyncio.sleep(QUIET_SECONDS)
        after = server.memory_info().rss
        growth.append((after - before) / len(stage) / 1024)
        before = after
    faults = [fault for socket in sockets for fault in socket.faults]
    for socket in sockets:
        socket.close()
    return {"kib": growth[1:], "faults": faults[:10]}


if __name__ == "__main__":
    drive(main)
