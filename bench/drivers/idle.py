"""The server's memory for each idle joined socket: how the resident sets of its processes grow over so many sockets."""

import asyncio

import psutil

from bench.drivers.harness import Plan, Result, drive, in_turns, mark
from bench.drivers.websocket import Socket

AT_ONCE = 20
QUIET_SECONDS = 1.0


async def main(plan: Plan) -> Result:
    """Open a first stage, which warms the server up, then measure the growth over the second."""
    processes = [psutil.Process(pid) for pid in plan["pids"]]
    sockets: list[Socket] = []

    async def open_one(token: str, key: str) -> None:
        socket = await Socket.connect(plan["port"], token)
        await socket.join(f"conversation:{key}")
        sockets.append(socket)

    async def resident_after(stage: list[tuple[str, str]]) -> int:
        await in_turns((open_one(token, key) for token, key in stage), AT_ONCE)
        await asyncio.sleep(QUIET_SECONDS)
        return sum(process.memory_info().rss for process in processes)

    before = await resident_after(plan["first"])
    mark("opens")
    after = await resident_after(plan["then"])
    mark("closes")
    faults = [fault for socket in sockets for fault in socket.faults]
    for socket in sockets:
        socket.close()
    return {"kib": (after - before) / len(plan["then"]) / 1024, "faults": faults[:10]}


if __name__ == "__main__":
    drive(main)
