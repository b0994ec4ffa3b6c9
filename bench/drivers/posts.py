"""A ceiling: how many plain posts one process can make to the receiver of agent calls."""

import asyncio

import aiohttp

from bench.drivers.harness import Plan, Result, Window, drive


async def main(plan: Plan) -> Result:
    """Post for the planned time over so many connections."""
    window = Window(plan)
    body = plan["body"].encode()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=plan["connections"])) as session:

        async def post() -> None:
            while window.note() < window.closes:
                async with session.post(f"http://127.0.0.1:{plan['port']}/plain", data=body) as answer:
                    await answer.read()

        await asyncio.gather(window.wait(), *(post() for _ in range(plan["connections"])))
    return {"per_second": window.per_second(), "faults": []}


if __name__ == "__main__":
    drive(main)
