"""Event streams, the way where sockets are blocked: each topic is a response of its own, and what one says goes by REST."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import anyio
import httpx

from .errors import INVALID_ANSWER, TOKEN_EXPIRED, FleetLMError, error_of, unreachable
from .event_text import EventText
from .following import closing
from .rest import Rest
from .tokens import Tokens
from .transport import TopicClosed
from .wire import path

Payload = Mapping[str, Any]

CLOSE_SECONDS = 1.0


class Streams:
    """The streams that are open."""

    def __init__(self, rest: Rest, tokens: Tokens) -> None:
        self._rest = rest
        self._tokens = tokens
        self._open: set[StreamChannel] = set()

    async def join(self, topic: str, place: Payload) -> StreamChannel:
        """See `Transport`. The reply is that of a socket's join, and `start`: the seq after which the stream goes on."""
        kind, _, name = topic.partition(":")
        if kind == "inbox":
            return await self._follow(path("inbox", name, "events"), "snapshot")
        try:
            return await self._join_conversation(path("conversations", name), place)
        except FleetLMError as error:
            if error.code != "conversation_not_found" or not await self._make_dm(name):
                raise
        return await self._join_conversation(path("conversations", name), place)

    def interrupt(self) -> None:
        """End all of them: there is a better way now."""
        for channel in list(self._open):
            channel.interrupt()

    def forget(self, channel: StreamChannel) -> None:
        """It is closed."""
        self._open.discard(channel)

    async def _join_conversation(self, base: str, place: Payload) -> StreamChannel:
        """A stream begins after a seq or live, never with a page: that is read apart."""
        page: Payload | None = None
        if "after" not in place:
            page = await self._rest.once("GET", f"{base}/messages", query={"limit": place["limit"]})
            place = {"after": page["last_seq"], "epoch": page["epoch"]}
        channel = await self._follow(f"{base}/events", "ready", place)
        ready = channel.reply
        start = place["after"]
        try:
            if not ready["recovered"]:
                start = ready["last_seq"]
                page = await self._rest.once("GET", f"{base}/messages", query={"before": start + 1})
            if page is not None and page["epoch"] != ready["epoch"]:
                raise unreachable("The conversation was made anew while it was joined.")
        except BaseException:
            await channel.leave()
            raise
        channel.reply = {**ready, "messages": [] if page is None else page["messages"], "start": start}
        return channel

    async def _follow(self, events: str, opening: str, place: Payload | None = None) -> StreamChannel:
        headers, query = {"Accept": "text/event-stream"}, {}
        if place is not None and place.get("epoch"):
            headers["Last-Event-ID"] = f"{place['epoch']}:{place['after']}"
        elif place is not None:
            query["after"] = place["after"]
        token = await self._tokens.current()
        response = await self._rest.stream(events, query, headers)
        channel = StreamChannel(self, response, self._tokens, token)
        self._open.add(channel)
        try:
            event, channel.reply = await channel.next()
            if event != opening:
                raise FleetLMError(INVALID_ANSWER, f"The stream began with {event!r}, not {opening!r}.")
        except BaseException:
            await channel.leave()
            raise
        return channel

    async def _make_dm(self, key: str) -> bool:
        """What a socket's join does: a dm is there once it is joined. Whether that was possible."""
        people = key.split(":")
        if len(people) != 2:
            return False
        try:
            await self._rest.once("POST", "conversations", body={"kind": "dm", "participants": people})
        except FleetLMError as error:
            return error.code == "conflict"  # somebody else was quicker
        return True


class StreamChannel:
    """A topic that is followed by a stream."""

    def __init__(self, streams: Streams, response: httpx.Response, tokens: Tokens, token: str | None) -> None:
        self.reply: Payload = {}
        self._streams = streams
        self._response = response
        self._tokens = tokens
        self._token = token
        self._chunks = response.aiter_bytes()
        self._text = EventText()
        self._events: deque[tuple[str, str]] = deque()
        self._interrupted = False
        self._reading: anyio.CancelScope | None = None

    async def next(self) -> tuple[str, Payload]:
        """See `Channel`."""
        while not self._events:
            self._events.extend(self._text.feed(await self._read()))
        event, data = self._events.popleft()
        try:
            payload: Payload = json.loads(data)
        except ValueError:
            raise FleetLMError(INVALID_ANSWER, "The stream holds what is no JSON.") from None
        if event == "error":
            raise await self._ending(error_of(payload, "The server ended the stream."))
        return event, payload

    async def leave(self) -> None:
        """See `Channel`."""
        self._streams.forget(self)
        with anyio.move_on_after(CLOSE_SECONDS, shield=True), contextlib.suppress(Exception):
            await self._response.aclose()

    def interrupt(self) -> None:
        """Let it end as if the connection were lost."""
        self._interrupted = True
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> bytes:
        with anyio.CancelScope() as self._reading:
            if self._interrupted:
                self._reading.cancel()
            try:
                return await self._chunks.__anext__()
            except StopAsyncIteration:
                raise unreachable("The stream ended.") from None
            except (httpx.TransportError, httpx.StreamError) as error:
                raise unreachable(f"The stream was lost: {str(error) or 'nothing came'}") from None
        raise unreachable("The stream was given up for a socket.")

    async def _ending(self, error: FleetLMError) -> Exception:
        reason = closing(error)
        if reason is not None:
            return TopicClosed(reason)
        if error.code == TOKEN_EXPIRED and await self._tokens.replace(self._token):
            return unreachable("The token has expired; there is another one.")
        return error
