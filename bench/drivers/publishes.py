"""A ceiling: how many publishes Valkey takes from one process, 64 in a round trip as the server sends them."""

import asyncio

import redis.asyncio as redis

from bench.drivers.harness import Plan, Result, Window, drive

BATCH = 64


async def main(plan: Plan) -> Result:
    """Publish for the planned time."""
    window = Window(plan)
    waiting = asyncio.create_task(window.wait())
    async with redis.Redis.from_url(plan["url"]) as client:
        while window.note(BATCH) < window.closes:
            pipeline = client.pipeline(transaction=False)
            for number in range(BATCH):
                pipeline.execute_command("PUBLISH", f"bench.{number}", plan["payload"])
            await pipeline.execute()
    await waiting
    return {"per_second": window.per_second(), "faults": []}


if __name__ == "__main__":
    drive(main)
