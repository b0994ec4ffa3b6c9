"""The server's life: one participant, standard input and output."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from fleetlm_client import AsyncFleetLM, FleetLMError

from .tools import make_server

RETRY_SECONDS = 10.0
"""Less than a model's client waits for a tool."""

Token = str | Callable[[], str | Awaitable[str]]


def serve(url: str, participant_id: str | None = None, token: Token | None = None) -> None:
    """Serve until standard input ends. Raises `FleetLMError` if it is not clear who takes part."""
    anyio.run(_serve, url, participant_id, token)


async def _serve(url: str, participant_id: str | None, token: Token | None) -> None:
    async with AsyncFleetLM(
        url, participant_id=participant_id, token=token, retry_for=RETRY_SECONDS
    ) as fleet:
        who = await fleet.identify()
        if who is None:
            raise FleetLMError(
                "invalid_request",
                "Say as whom the model takes part: a participant, or a participant's token.",
            )
        await make_server(fleet, who).run_stdio_async()
