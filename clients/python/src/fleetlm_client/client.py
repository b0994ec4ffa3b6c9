"""The client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from .conversation import AsyncConversation
from .feed import Feed
from .following import InboxTopic, Topic
from .link import Link, Status
from .records import (
    ConversationInfo,
    Conversations,
    Entry,
    Found,
    InboxChange,
    conversations_of,
    found_of,
    inbox_of,
    info_of,
)
from .rest import Rest
from .retry import Timing, patiently
from .tasks import Tasks
from .tokens import TokenFunction, Tokens
from .wire import canonical_key, path

T = TypeVar("T")


class AsyncFleetLM:
    """A client of one server, as one participant, or as a server that acts for many.

    `participant_id` is who you are, in open mode; with an API key, whom it acts as. A participant token says it itself.
    `token` is an API key, a participant token, or a function that gives one, asynchronous or not: it is called at the
    start, shortly before its token expires, and when the server says that it has. It has `timing.reply` seconds.
    `transport`: `auto` is a WebSocket, and Server-Sent Events as long as sockets are blocked.
    `retry_for`: so many seconds a request, a send or the first join of a conversation is tried again while the server is
    away, before `FleetLMError` `unreachable` is raised; None is for ever, 0 once. What was joined is followed for ever.

    Use it with `async with`, or `close()` it. It belongs to one event loop.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4000",
        *,
        participant_id: str | None = None,
        token: str | TokenFunction | None = None,
        transport: Literal["auto", "websocket", "sse"] = "auto",
        retry_for: float | None = 30.0,
        timing: Timing | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._participant_id = participant_id
        self._retry_for = retry_for
        self._timing = timing or Timing()
        self._tasks = Tasks()
        self._tokens = Tokens(token, self._timing.reply)
        self._rest = Rest(self.url, self._tokens, self._timing, retry_for)
        self._link = Link(
            self.url, participant_id, transport, self._rest, self._tokens, self._timing, self._tasks
        )
        self._conversations: WeakValueDictionary[str, AsyncConversation] = WeakValueDictionary()
        self._inbox: Feed[InboxChange] | None = None

    async def __aenter__(self) -> AsyncFleetLM:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything: what is followed or sent at that moment raises `FleetLMError` `closed`."""
        for conversation in list(self._conversations.values()):
            conversation._close()
        if self._inbox is not None:
            self._inbox.close()
        await self._tasks.close()
        await self._link.close()
        await self._rest.close()

    @property
    def participant_id(self) -> str | None:
        """Who you are; None for a server, and as long as a token function was not called."""
        return self._participant_id or self._tokens.participant_id

    @property
    def status(self) -> Status:
        """How it stands with the connection. `idle`: nothing is followed."""
        return self._link.status

    async def identify(self) -> str | None:
        """Who you are, if need be by calling the token function; None for a server that acts for many."""
        return await patiently(self._me, self._timing, self._retry_for)

    # Conversations.

    def conversation(self, key: str) -> AsyncConversation:
        """A conversation by its key; that of a dm is its two participants, joined by a colon, in either order.

        Nothing is sent: it need not exist yet, and a dm comes into being with its first message.
        """
        key = canonical_key(key)
        known = self._conversations.get(key)
        if known is None:
            self._conversations[key] = known = AsyncConversation(self, key)
        return known

    async def create_conversation(
        self,
        key: str | None = None,
        *,
        participants: Sequence[str | Mapping[str, str]] = (),
        kind: Literal["dm", "group", "broadcast"] = "group",
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> ConversationInfo:
        """Make a conversation with these members: ids, or `{"id": …, "role": "admin"}`. A group without a key is given one.
        Raises `conflict` if the key is taken."""
        body = {
            "kind": kind,
            "title": title,
            "metadata": dict(metadata or {}),
            "participants": list(participants),
        }
        if key is not None:
            body["key"] = key
        return info_of(await self._rest.call("POST", "conversations", body=body))

    async def conversations(
        self,
        *,
        kind: Literal["dm", "group", "broadcast"] | None = None,
        state: Literal["open", "closed", "archived"] | None = None,
        participant_id: str | None = None,
        cursor: int | None = None,
        limit: int = 50,
    ) -> Conversations:
        """A page of conversations, newest first: those of a participant, by default one's own; `cursor` is the `next` of
        the page before."""
        query = {
            "kind": kind,
            "state": state,
            "participant_id": participant_id or await self.identify(),
            "cursor": cursor,
            "limit": limit,
        }
        return conversations_of(await self._rest.call("GET", "conversations", query=query))

    async def search(
        self, q: str, *, key: str | None = None, cursor: str | None = None, limit: int = 20
    ) -> Found:
        """Messages that hold all words of `q`, in one conversation or in all of one's own, newest first.

        A search looks at so many messages and stops: go on with its `cursor` until that is None, even if nothing was found.
        """
        query = {
            "q": q,
            "participant_id": await self.identify(),
            "key": key,
            "cursor": cursor,
            "limit": limit,
        }
        return found_of(await self._rest.call("GET", "search", query=query))

    # The inbox.

    async def inbox(self) -> list[Entry]:
        """One's conversations, newest first, with what is unread."""
        return inbox_of(await self._rest.call("GET", path("inbox", await self._somebody())))

    async def follow_inbox(self) -> AsyncGenerator[InboxChange, None]:
        """The inbox, then what changes of it, for ever, over all losses of the connection. Raises `FleetLMError` when it is
        refused."""
        name = f"inbox:{await self._somebody()}"
        if self._inbox is None or self._inbox.is_over:
            self._inbox = self._feed(name, InboxTopic())
        follower = self._inbox.follow()
        try:
            while (change := await follower.next()) is not None:
                yield change
        finally:
            follower.leave()

    # Anything else.

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Any call of the REST API; its answer's JSON, or its text if it is none. `path` is below `/api`, with a leading slash
        below the server. GETs, and calls with an `idempotency_key`, are tried again while the server is away. Raises
        `FleetLMError`."""
        return await self._rest.call(
            method, path, body=body, query=query, idempotency_key=idempotency_key, within=self._timing.answer
        )

    def _feed(self, name: str, topic: Topic[T]) -> Feed[T]:
        return Feed(self._link, name, topic, self._timing, self._retry_for, self._tasks)

    async def _me(self) -> str | None:
        """Who you are, tried once."""
        if self.participant_id is None:
            await self._tokens.current()
        return self.participant_id

    async def _somebody(self) -> str:
        """Who you are. Raises `ValueError` for a server that acts for nobody."""
        found = await self.identify()
        if found is None:
            raise ValueError("Only a participant has an inbox: give participant_id.")
        return found
