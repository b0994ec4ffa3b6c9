"""The one way to write: everything that appends or moves a cursor goes through here, and from here to whoever follows."""

from collections.abc import Iterable

from agents import marking
from conversations import queries, rules
from conversations.append import Appended, AppendRequest, Members
from conversations.errors import ConversationNotFound
from conversations.models import Conversation
from inbox import store as inbox_store
from runtime import members
from runtime.appender import Appender
from runtime.batch import Committed
from runtime.database import Pool, in_thread
from runtime.inbox_server import InboxServer
from runtime.pages import encode
from runtime.publisher import Publisher
from runtime.sessions import Sessions

DISPATCH = "dispatch"
"""The channel layer group of the dispatchers."""


class Gateway:
    """Writes of one process."""

    def __init__(
        self, pool: Pool, appender: Appender, sessions: Sessions, inboxes: InboxServer, publisher: Publisher
    ) -> None:
        self._pool = pool
        self._appender = appender
        self._sessions = sessions
        self._inboxes = inboxes
        self._publisher = publisher

    async def append(self, request: AppendRequest, *, create: bool = False) -> Appended:
        """Append one message; returns after its commit.

        `create` makes a dm, with its unknown participants as users, on first use.
        Raises the errors of `conversations.append.plan`, `Overloaded` and `Unavailable`.
        """
        try:
            return await self._appender.submit(request)
        except ConversationNotFound:
            if not create or not rules.is_dm(request.key):
                raise
            await self.ensure_dm(request.key)
        return await self._appender.submit(request)

    @property
    def appender(self) -> Appender:
        """For sockets, which queue a send without waiting for its commit: `appender.submit`."""
        return self._appender

    async def ensure_dm(self, key: str) -> None:
        """Make the dm with this canonical key, and its participants as users, unless it is there."""
        await in_thread(members.ensure_dm, key)

    async def read(self, view: queries.View, participant_id: str, seq: int) -> int:
        """Move a read cursor forward and tell the conversation and the inbox; returns where it stands now."""
        async with self._pool.connection() as connection:
            moved, *_, marked = await connection.run(
                inbox_store.move_cursor(participant_id, view.id, seq),
                *marking.mark_inbox(view.id, [participant_id]),
            )
        now_at: int = moved.rows[0][0]
        self._sessions.publish_event(view.id, "read", {"participant_id": participant_id, "seq": now_at})
        self._inboxes.changed(view.id, [participant_id])
        if marked.count:
            self.wake_dispatchers()
        return now_at

    def typing(self, conversation_id: int, participant_id: str, on: bool) -> None:
        """Say that someone types, or has stopped."""
        self._sessions.publish_typing(conversation_id, participant_id, on)

    def announce_change(
        self, conversation: Conversation, participant_ids: Iterable[str], gone: Iterable[str] = ()
    ) -> None:
        """Members, title or state have changed and are committed: sockets and inboxes follow.

        `gone` are those who were members: a hint to all members, which a large conversation gets, would not reach them.
        """
        self._sessions.publish_version(conversation.id, conversation.version)
        self._inboxes.changed(conversation.id, participant_ids)
        self._inboxes.changed(conversation.id, gone)
        self.wake_dispatchers()

    def committed(self, batch: Committed) -> None:
        """Tell whoever follows of a committed batch: one frame for each conversation, one hint for each member."""
        by_conversation: dict[int, list[tuple[int, bytes]]] = {}
        for message in batch.messages:
            by_conversation.setdefault(message.conversation_id, []).append((message.seq, encode(message)))
        for conversation_id, entries in by_conversation.items():
            self._sessions.publish(conversation_id, batch.heads[conversation_id].version, entries)
            participants: Members = batch.members.get(conversation_id, {})
            self._inboxes.changed(conversation_id, participants, entries[-1][0])
        if batch.deliveries_due:
            self.wake_dispatchers()

    def wake_dispatchers(self) -> None:
        """Something is due: a hint, without which they find out within a second."""
        self._publisher.send(DISPATCH, {"type": "dispatch.due"})
