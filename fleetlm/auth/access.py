"""Which conversation a caller may use: the one check for REST, sockets and event streams."""

from conversations import queries, rules
from conversations.errors import ConversationNotFound, NotAllowed, NotAMember
from fleetlm.auth.principal import Principal
from runtime.core import Runtime


async def find_conversation(
    runtime: Runtime, principal: Principal, key: str, *, create: bool = False
) -> queries.View:
    """The conversation, if the principal may read it.

    `create` makes a missing dm for those who may. Raises `InvalidRequest`, `NotAMember` or `ConversationNotFound`. A
    participant is never told whether a conversation that is not its own exists.
    """
    key = rules.canonical_key(key)
    principal.require("read")
    principal.require_key(key)
    view = await _view(runtime, key, principal)
    if view is None and create and principal.may_create and rules.is_dm(key):
        await runtime.gateway.ensure_dm(key)
        view = await _view(runtime, key, principal)
    if view is None:
        raise ConversationNotFound(key=key) if principal.is_server else NotAMember(key=key)
    if not principal.is_server and view.role is None and view.kind != "broadcast":
        raise NotAMember(key=key)
    return view


def require_conversation_admin(principal: Principal, view: queries.View) -> None:
    """Raise `NotAllowed` unless the principal may change this conversation: a server that writes, or an admin of it."""
    if principal.is_server:
        principal.require("write")
    elif view.role != "admin":
        raise NotAllowed("Only an admin of the conversation or an API key may change it.")


async def _view(runtime: Runtime, key: str, principal: Principal) -> queries.View | None:
    async with runtime.pool.connection() as connection:
        return await queries.view(connection, key, principal.participant_id)
