"""How a run is cancelled, for sockets and REST alike."""

from uuid import UUID

from agents import store
from conversations.errors import NotFound
from runtime.core import Runtime
from runtime.gateway import DISPATCH


class RunNotFound(NotFound):
    """No run of this id is under way."""

    code = "run_not_found"
    message = "No run with this id is under way here."


async def cancel_run(runtime: Runtime, conversation_id: int, run_id: str) -> None:
    """Have a run of this conversation ended. That is noted for good before this returns; the end itself comes as `run`.

    Raises `RunNotFound`.
    """
    try:
        wanted = UUID(run_id)
    except ValueError:
        raise RunNotFound(run_id=run_id[:64]) from None
    async with runtime.pool.connection() as connection:
        if not await store.request_cancel(connection, conversation_id, wanted):
            raise RunNotFound(run_id=run_id)
    runtime.publisher.send(DISPATCH, {"type": "dispatch.cancel", "run_id": str(wanted)})
