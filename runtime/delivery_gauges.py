"""How deliveries stand, measured now and then for `/metrics`: what waits, what was given up, what has waited longest."""

import asyncio

from django.conf import settings

from agents import queries
from observability import metrics
from runtime.database import Pool
from runtime.outage import DATABASE_AWAY, Outage


async def measure_for_ever(pool: Pool) -> None:
    """Set the gauges of `observability.metrics` every `delivery_gauges_interval` seconds, until cancelled."""
    outage = Outage("the measuring of deliveries")
    known: set[tuple[str, str]] = set()
    while True:
        try:
            async with pool.connection() as connection:
                counts = await queries.stream_counts(connection)
                oldest = await queries.oldest_due_seconds(connection)
        except DATABASE_AWAY as error:
            outage.pause(error)
        else:
            outage.over()
            for endpoint, state in known - counts.keys():
                metrics.DELIVERY_STREAMS.labels(endpoint, state).set(0)
            for (endpoint, state), count in counts.items():
                metrics.DELIVERY_STREAMS.labels(endpoint, state).set(count)
            metrics.DELIVERY_OLDEST_DUE_SECONDS.set(oldest)
            known |= counts.keys()
        await asyncio.sleep(settings.FLEETLM.delivery_gauges_interval)
