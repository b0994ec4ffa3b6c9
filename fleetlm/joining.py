"""What somebody who begins to follow a conversation is told of it first, by a socket's join and by an event stream."""

from typing import Any

from conversations import queries, rules
from inbox import queries as inbox_queries
from runtime.core import Runtime

LISTED_MEMBERS = 200


async def first_members(runtime: Runtime, view: queries.View) -> list[dict[str, Any]]:
    """The first members, each with its read cursor."""
    async with runtime.pool.connection() as connection:
        return await inbox_queries.members(connection, view.id, LISTED_MEMBERS)


def opening(
    view: queries.View, *, last_seq: int, recovered: bool, members: list[dict[str, Any]]
) -> dict[str, Any]:
    """The conversation as it is now. `recovered`: what follows begins where the client said that it was."""
    return {
        "key": view.key,
        "dm_key": view.key if rules.is_dm(view.key) else None,
        "epoch": view.epoch,
        "kind": view.kind,
        "state": view.state,
        "last_seq": last_seq,
        "recovered": recovered,
        "members": members,
    }
