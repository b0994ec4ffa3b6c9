"""`/api/conversations/{key}/runs`: what agents are saying right now, and how to stop them."""

import asyncio
import logging

import msgspec
from django.http import HttpRequest

from agents import run_queries
from agents.chunks import merge
from conversations import queries
from conversations.errors import NotAMember
from fleetlm.api import run_forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation
from fleetlm.cancelling import cancel_run
from runtime.live_run import encode, snapshot
from runtime.partials import VALKEY_AWAY, Partials

logger = logging.getLogger(__name__)


class Runs(ApiView):
    """The runs of a conversation."""

    @operation("List the runs under way", answers={200: run_forms.RunsAnswer})
    async def get(self, request: HttpRequest, key: str) -> Reply:
        """The agent calls that are being made now, with what each has streamed so far."""
        view = await find_conversation(self.runtime, self.principal, key)
        async with self.runtime.pool.connection() as connection:
            active = await run_queries.active_runs(connection, view.id)
        partials = self.runtime.partials
        runs = await asyncio.gather(*[_so_far(partials, view, str(run), agent) for run, agent in active])
        return Reply(b'{"runs":[' + b",".join(runs) + b"]}")


async def _so_far(partials: Partials, view: queries.View, run_id: str, agent_id: str) -> bytes:
    try:
        chunks = await partials.read(view.id, run_id)
    except VALKEY_AWAY as error:
        logger.warning("What run %s has said cannot be read: %s", run_id, error)
        chunks = []
    merged = encode(merge(map(msgspec.json.decode, chunks)))
    return snapshot(run_id, agent_id, "streaming" if chunks else "started", len(chunks), merged)


class RunCancel(ApiView):
    """The end of a run, on request."""

    @operation("Cancel a run", answers={202: run_forms.RunCancelledAnswer})
    async def post(self, request: HttpRequest, key: str, run_id: str) -> Reply:
        """Have an agent's call ended, by a member or a server; what it has said so far is kept as its message."""
        view = await find_conversation(self.runtime, self.principal, key)
        self.principal.require("write")
        if not self.principal.is_server and view.role is None:
            raise NotAMember(key=view.key)
        await cancel_run(self.runtime, view.id, run_id)
        return Reply({"run_id": run_id}, 202)
