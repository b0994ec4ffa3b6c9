"""How background tasks end."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_SECONDS: Final = 0.1


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel these tasks, as often as it takes, and return when all are over.

    Once is not always enough: `asyncio.wait_for` of Python 3.11, with which redis-py sends and psycopg waits, forgets a
    cancellation that comes together with its result (CPython issue 86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # whoever started it has seen it, or does not care any more
