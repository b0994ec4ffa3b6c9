"""One conversation: what can be done in it, and how it is followed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from .errors import FleetLMError
from .events import ClosedEvent, Event, Joined, MessageEvent
from .feed import Feed
from .following import PAGE, Arrival, ConversationTopic
from .log import Log
from .outbox import Outbox
from .reader import Reader
from .records import ConversationInfo, Message, Page, Sent, info_of, page_of, sent_of, seq_of
from .retry import new_client_id, patiently
from .socket import SocketChannel
from .wire import encode, path

if TYPE_CHECKING:
    from .client import AsyncFleetLM

TYPING_SECONDS: Final = 3.0
"""That one types is said so often; the server lets it end after 6 s."""
NOT_JOINED: Final = "not_joined"
"""Said by a socket whose topic has just ended: REST knows why."""


class AsyncConversation:
    """One conversation, by its key. `fleet.conversation(key)` gives it; it needs no closing."""

    def __init__(self, fleet: AsyncFleetLM, key: str) -> None:
        self.key = key
        self.closed: str | None = None
        """Why `messages()` and `events()` have ended: one was `removed`, or it was `deleted`."""
        self._fleet = fleet
        self._rest = fleet._rest
        self._feed: Feed[Event | Arrival] | None = None
        self._topic: ConversationTopic | None = None
        self._outbox = Outbox(self._deliver, self._pause, fleet._timing, fleet._retry_for, fleet._tasks)
        self._typed_at = 0.0

    # The log.

    async def send(
        self,
        text: str = "",
        *,
        client_id: str | None = None,
        reply_to: int | None = None,
        kind: str = "text",
        content: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        expected_seq: int | None = None,
        sender_id: str | None = None,
    ) -> Sent:
        """Send a message; returns when it is stored.

        Messages are stored in the order in which they were sent. While the server is away it is tried again, with the
        same `client_id` (of your own, or one that is made), so that it is stored once: for `retry_for` seconds, then
        `FleetLMError` `unreachable` is raised; it may have been stored then, and sending it again with the same
        `client_id` is safe. With `expected_seq` it is stored only if that is the conversation's last seq, else
        `seq_conflict` is raised. `sender_id` is for API keys, which may speak for anyone.
        """
        given = {
            "text": text,
            "client_id": client_id or new_client_id(),
            "reply_to": reply_to,
            "kind": kind,
            "content": content,
            "metadata": metadata,
            "expected_seq": expected_seq,
            "sender_id": sender_id,
        }
        body = {name: value for name, value in given.items() if value is not None}
        encode(body)  # what cannot be sent is refused now, not when its turn has come
        return await self._outbox.send(body)

    async def history(self, *, before: int | None = None, after: int | None = None, limit: int = 50) -> Page:
        """A page of the log, oldest first: after a seq, before one, or the newest. `limit` is 1 to 200."""
        return await self._page(before=before, after=after, limit=limit)

    async def messages(
        self, *, after: int | None = None, epoch: str | None = None, limit: int = 50
    ) -> AsyncGenerator[Message, None]:
        """Every message once, in order, for ever, over all losses of the connection.

        Begins with the newest `limit`, or with all after the seq `after` (0: from the first). With `epoch`, too, a
        conversation that was deleted and made again under the same key is not mistaken for the old one: it begins with
        the newest then. Ends when one is removed or the conversation is deleted; `closed` says which. Raises
        `FleetLMError` when it is refused. Leave it with `contextlib.aclosing`, or exhaust it.
        """
        reader = self._follow(after, epoch, limit)
        try:
            while (event := await self._next(reader)) is not None:
                if isinstance(event, MessageEvent):
                    yield event.message
        finally:
            reader.leave()

    async def events(
        self, *, after: int | None = None, epoch: str | None = None, limit: int = 50
    ) -> AsyncGenerator[Event, None]:
        """All that happens, for ever: the messages of `messages()`, and what agents stream, who types, reads and is here.

        The first event is `Joined`, but for `StatusEvent`s while no connection can be made; the last, if it ends, is
        `ClosedEvent`.
        """
        reader = self._follow(after, epoch, limit)
        try:
            while (event := await self._next(reader)) is not None:
                yield event
        finally:
            reader.leave()

    # What one does beside messages.

    async def read(self, seq: int | None = None) -> int:
        """Move one's read cursor forward to `seq`, or to the newest message; returns where it stands. It never goes back."""
        if seq is None:
            seq = await self._last_seq()
        move = partial(self._act, "read", {"seq": seq})
        return seq_of(await patiently(move, self._fleet._timing, self._fleet._retry_for))

    async def typing(self, on: bool = True) -> None:
        """Show the others that one types, or not any more. Call it at every key: it is said every few seconds, and ends by
        itself after 6 s. What cannot be said now is not said later."""
        now = time.monotonic()
        if on and now - self._typed_at < TYPING_SECONDS:
            return
        self._typed_at = now if on else 0.0
        try:
            await self._act("typing", {"on": on})
        except FleetLMError as error:
            if not error.passing:
                raise

    async def cancel(self, run_id: str) -> None:
        """End an agent's run: what it has said so far becomes its message. Raises `run_not_found` if it is over."""
        await self._rest.call("POST", self._path("runs", run_id, "cancel"), safe=True)

    # The conversation itself.

    async def info(self) -> ConversationInfo:
        """The conversation with its first 1,000 members."""
        return info_of(await self._rest.call("GET", self._path()))

    async def update(
        self, *, title: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ConversationInfo:
        """Change the title or the metadata, which is replaced as a whole."""
        given = {"title": title, "metadata": metadata}
        body = {name: value for name, value in given.items() if value is not None}
        return info_of(await self._rest.call("PATCH", self._path(), body=body, safe=True))

    async def add_participants(self, participants: Sequence[str | Mapping[str, str]]) -> ConversationInfo:
        """Add members: ids, or `{"id": …, "role": "admin"}`. What was said before they came is not unread for them."""
        body = {"participants": list(participants)}
        return info_of(await self._rest.call("POST", self._path("participants"), body=body, safe=True))

    async def remove_participant(self, participant_id: str) -> ConversationInfo:
        """Remove a member, or leave."""
        return info_of(await self._rest.call("DELETE", self._path("participants", participant_id)))

    async def handoff(self, to: str | None) -> ConversationInfo:
        """Let a member, a person, take over from the agents; None gives the conversation back to them."""
        body = {"participant_id": to}
        return info_of(await self._rest.call("POST", self._path("handoff"), body=body, safe=True))

    async def set_state(self, state: Literal["open", "closed", "archived"]) -> ConversationInfo:
        """Let it take no more messages (`closed`), leave the inboxes as well (`archived`), or neither (`open`)."""
        verb = {"open": "reopen", "closed": "close", "archived": "archive"}[state]
        return info_of(await self._rest.call("POST", self._path(verb), safe=True))

    # How.

    def _follow(self, after: int | None, epoch: str | None, limit: int) -> Reader:
        if self._feed is None or self._feed.is_over:
            place: dict[str, Any] = {"limit": min(max(limit, 1), PAGE)}
            if after is not None:
                place = {"after": after, "limit": PAGE} | ({} if epoch is None else {"epoch": epoch})
            self._topic = ConversationTopic(lambda: self._fleet.participant_id, place)
            self._feed = self._fleet._feed(f"conversation:{self.key}", self._topic)
        return Reader(self._feed.follow(), self._patient_page, Log(after, epoch), limit)

    async def _next(self, reader: Reader) -> Event | None:
        event = await reader.next()
        if isinstance(event, ClosedEvent):
            self.closed = event.reason
        elif isinstance(event, Joined):
            self.closed = None
        return event

    async def _page(
        self,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        for_ever: bool = False,
    ) -> Page:
        query = {"before": before, "after": after, "limit": limit}
        return page_of(await self._rest.call("GET", self._path("messages"), query=query, for_ever=for_ever))

    async def _patient_page(self, *, before: int | None = None, after: int | None = None, limit: int) -> Page:
        return await self._page(before=before, after=after, limit=limit, for_ever=True)

    async def _last_seq(self) -> int:
        if self._feed is not None and self._feed.is_joined and self._topic is not None:
            return self._topic.seq or 0
        return (await self._page(limit=1)).last_seq

    async def _deliver(self, body: Mapping[str, Any]) -> Sent:
        """Try to send a message once, over the connection if there is one."""
        me = await self._fleet._me()
        sender = body.get("sender_id", me)
        socket = self._socket()
        if socket is not None and sender == me:
            without_sender = {name: value for name, value in body.items() if name != "sender_id"}
            try:
                return sent_of(await socket.push("send", without_sender))
            except FleetLMError as error:
                if error.code != NOT_JOINED:
                    raise
        return sent_of(
            await self._rest.once("POST", self._path("messages"), body={**body, "sender_id": sender})
        )

    async def _act(self, event: str, payload: dict[str, Any]) -> Any:
        """Do something once, over the connection if there is one, otherwise by REST."""
        socket = self._socket()
        if socket is not None:
            try:
                return await socket.push(event, payload)
            except FleetLMError as error:
                if error.code != NOT_JOINED:
                    raise
        body = {**payload, "participant_id": await self._fleet._me()}
        return await self._rest.once("POST", self._path(event), body=body)

    def _socket(self) -> SocketChannel | None:
        channel = None if self._feed is None else self._feed.channel
        return channel if isinstance(channel, SocketChannel) else None

    async def _pause(self, seconds: float) -> None:
        """Wait, or less if the conversation is joined again meanwhile."""
        if self._feed is None or self._feed.is_over or self._feed.is_joined:
            await anyio.sleep(seconds)
            return
        with anyio.move_on_after(seconds):
            await self._feed.joined.wait()

    def _path(self, *parts: str) -> str:
        return path("conversations", self.key, *parts)

    def _close(self) -> None:
        self._outbox.close()
        if self._feed is not None:
            self._feed.close()
