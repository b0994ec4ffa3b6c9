"""Background tasks end, even those that forget a cancellation."""

import asyncio

from runtime.tasks import end_tasks


async def test_a_task_that_forgets_its_first_cancellation_ends() -> None:
    forgotten = asyncio.Event()

    async def forgetful() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if forgotten.is_set():
                    raise
                forgotten.set()

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert forgotten.is_set()
    assert task.cancelled()


async def test_tasks_that_are_over_or_have_failed_are_no_trouble() -> None:
    async def fail() -> None:
        raise RuntimeError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end_tasks([task])
    await end_tasks([])
