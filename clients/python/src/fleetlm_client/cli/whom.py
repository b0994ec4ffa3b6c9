"""Which conversation is meant by whom one wants to talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetlm_client.cli.bodies import part
from fleetlm_client.errors import FleetLMError
from fleetlm_client.wire import canonical_key

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

NOT_THERE = (403, 404)
"""One who holds a token is not told whether a conversation of others exists."""


async def conversation_with(fleet: AsyncFleetLM, me: str, whom: str) -> str:
    """The key of the conversation `whom`, if there is one of this key; otherwise of the dm with the participant `whom`.

    Raises `FleetLMError` when the server cannot be asked.
    """
    if ":" in whom:
        return canonical_key(whom)
    return whom if await _is_conversation(fleet, whom) else canonical_key(f"{me}:{whom}")


async def is_known(fleet: AsyncFleetLM, participant_id: str) -> bool:
    """Whether there is such a participant, as far as one may know. Raises `FleetLMError`."""
    return await _is_there(fleet, f"participants/{part(participant_id)}")


async def _is_conversation(fleet: AsyncFleetLM, key: str) -> bool:
    return await _is_there(fleet, f"conversations/{part(key)}")


async def _is_there(fleet: AsyncFleetLM, path: str) -> bool:
    try:
        await fleet.request("GET", path)
    except FleetLMError as error:
        if error.status in NOT_THERE:
            return False
        raise
    return True
