"""A ceiling: how many publishes Valkey takes from one process, 64 in a round trip as the server sends them."""

import redis.asyncio as redis

from bench.drivers.harness import Plan, Result, Window, drive

BATCH = 64


async def main(plan: Plan) -> Result:
    """Publish for the planned time."""
    window = Window(plan)
    async with redis.Redis.from_url(plan["url"]) as client:
        while window.note() < window.closes:
            pipeline = client.pipeline(transaction=False)
            for number in range(BATCH):
                pipeline.execute_command("PUBLISH", f"bench.{number}", plan["payload"])
            await pipeline.execute()
    return {"per_second": window.count * BATCH / window.seconds, "faults": []}


if __name__ == "__main__":
    drive(main)
