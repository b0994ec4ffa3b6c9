"""The Channels consumer of `/socket/websocket`: one socket, many topics.

It runs its own receive loop: Channels' dispatch awaits a thread hop for every event, which a message cannot afford, and
groups are followed by `runtime.sessions`, once for a process instead of once for a socket.
"""

import asyncio
import logging
import secrets
import time
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import orjson
from channels.consumer import AsyncConsumer
from django.conf import settings

from conversations.errors import FleetLMError, InvalidRequest, NotAllowed, NotFound
from fleetlm.auth.authenticate import authenticate, bearer
from fleetlm.auth.principal import Principal, open_participant
from fleetlm.config import LOOPBACK_HOSTS
from fleetlm.errors import as_error
from fleetlm.sockets import conversation, inbox, phoenix
from fleetlm.sockets.channel import Channel
from fleetlm.sockets.outbox import WIRE, Outbox, QueuedOutbox
from fleetlm.sockets.phoenix import Frame, InvalidFrame
from observability import metrics
from runtime.core import Runtime, current

logger = logging.getLogger(__name__)

CLOSE_TOKEN_EXPIRED = 4001
CLOSE_SLOW_READER = 4008

TOPICS: dict[str, type[Channel]] = {
    conversation.PREFIX: conversation.ConversationChannel,
    inbox.PREFIX: inbox.InboxChannel,
}


class UnknownTopic(NotFound):
    """There is no such topic."""

    code = "unknown_topic"
    message = "Topics are conversation:<key> and inbox:<participant_id>."


class NotJoined(FleetLMError):
    """An event for a topic that this socket has not joined."""

    code = "not_joined"
    message = "Join the topic first."


class TooManyTopics(FleetLMError):
    """One socket has joined as many topics as it may."""

    code = "too_many_topics"
    message = "This socket has joined as many topics as it may; leave one, or open another socket."


class Socket:
    """One accepted socket: its principal, its topics and its way out."""

    def __init__(
        self, runtime: Runtime, principal: Principal, version: phoenix.Version, scope: Any, send: Any
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.runtime = runtime
        self.principal = principal
        self.version = version
        self.topics: dict[str, Channel] = {}
        self.sends_in_flight = 0
        self._number = 0
        self._send = send
        self._closing: asyncio.Task[None] | None = None
        limit = settings.FLEETLM.socket_buffer_bytes
        wire = scope.get("extensions", {}).get(WIRE)
        self.outbox = (
            Outbox(wire, limit, self._too_slow) if wire else QueuedOutbox(send, limit, self._too_slow)
        )
        self._expiry: asyncio.TimerHandle | None = None
        if principal.expires_at is not None:
            self._expiry = asyncio.get_running_loop().call_later(
                max(principal.expires_at - time.time(), 0), self.close, CLOSE_TOKEN_EXPIRED
            )

    def next_number(self) -> int:
        """1, 2, 3 … for this socket."""
        self._number += 1
        return self._number

    def reply(self, frame: Frame, status: Literal["ok", "error"], response: Any) -> None:
        """Answer a frame; bytes are taken for JSON already encoded."""
        body = response if isinstance(response, bytes) else orjson.dumps(response)
        self.outbox.write(self.outbox.frame(phoenix.reply(self.version, frame, status, body)))

    def push(self, topic: str, event: str, payload: Any) -> None:
        """Send an event that belongs to no join."""
        text = phoenix.encode(self.version, None, None, topic, event, orjson.dumps(payload))
        self.outbox.write(self.outbox.frame(text))

    async def receive(self, text: str | None) -> None:
        """Serve one frame of the client. Whatever is wrong with it is answered; nothing is raised."""
        try:
            if text is None:
                raise InvalidFrame("Binary frames are not used here; send text frames.")
            frame = phoenix.decode(text, self.version)
        except InvalidFrame as error:
            self.push("phoenix", "error", error.as_dict())
            return
        try:
            await self._handle(frame)
        except Exception as error:  # noqa: BLE001  # the one place where a socket's errors are rendered
            self.reply(frame, "error", as_error(error).as_dict())

    async def _handle(self, frame: Frame) -> None:
        if frame.topic == "phoenix":
            if frame.event != "heartbeat":
                raise UnknownTopic(topic="phoenix")
            self.reply(frame, "ok", {})
        elif frame.event == "phx_join":
            await self._join(frame)
        elif frame.event == "phx_leave":
            self._leave(frame)
        else:
            channel = self.topics.get(frame.topic)
            if channel is None or frame.join_ref not in (None, channel.join_ref):
                raise NotJoined(topic=frame.topic[:300])
            await channel.handle(frame)

    async def _join(self, frame: Frame) -> None:
        """Join a topic; a second join replaces the first."""
        known = next((kind for prefix, kind in TOPICS.items() if frame.topic.startswith(prefix)), None)
        if known is None:
            raise UnknownTopic(topic=frame.topic[:300])
        previous = self.topics.get(frame.topic)
        if previous is not None:
            self.drop(previous)
            previous.push("phx_close", {})
        if len(self.topics) >= settings.FLEETLM.topics_per_socket:
            raise TooManyTopics(limit=settings.FLEETLM.topics_per_socket)
        channel = known(self, frame)
        await channel.join(frame)
        self.topics[frame.topic] = channel
        metrics.TOPICS_JOINED.labels(channel.kind).inc()

    def _leave(self, frame: Frame) -> None:
        channel = self.topics.get(frame.topic)
        if channel is not None and frame.join_ref in (None, channel.join_ref):
            self.drop(channel)
            self.reply(frame, "ok", {})
            channel.push("phx_close", {})
        else:
            self.reply(frame, "ok", {})

    def drop(self, channel: Channel) -> None:
        """Forget a joined topic."""
        if self.topics.get(channel.topic) is channel:
            del self.topics[channel.topic]
            metrics.TOPICS_JOINED.labels(channel.kind).dec()
            channel.leave()

    def close(self, code: int) -> None:
        """Close the socket with this code, and drop the connection if the peer does not answer."""
        if self._closing is None:
            self.outbox.stop()
            self._closing = asyncio.create_task(self._close(code))

    async def _close(self, code: int) -> None:
        self.outbox.abort_later()
        await self._send({"type": "websocket.close", "code": code})

    def _too_slow(self) -> None:
        metrics.SLOW_READERS_CLOSED.inc()
        logger.info("A socket of %s did not keep up and was closed", self.principal.participant_id)
        self.close(CLOSE_SLOW_READER)

    def closed(self) -> None:
        """The connection is gone: leave every topic."""
        self.outbox.release()
        if self._expiry is not None:
            self._expiry.cancel()
        for channel in list(self.topics.values()):
            self.drop(channel)


class SocketConsumer(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """Accepts or refuses a connection, then serves its frames in order."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection to its end."""
        await receive()
        try:
            runtime = current()
            await runtime.start()
            query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
            version = phoenix.version_of(query.get("vsn"))
            principal = await _principal(runtime, scope, query)
        except Exception as error:  # noqa: BLE001  # a refused connection gets its reason as an HTTP answer
            await _refuse(scope, send, as_error(error))
            return
        await send({"type": "websocket.accept"})
        scope["headers"].clear()  # a kilobyte that nobody asks for any more
        socket = Socket(runtime, principal, version, scope, send)
        metrics.SOCKETS_OPEN.inc()
        try:
            while (event := await receive())["type"] != "websocket.disconnect":
                await socket.receive(event.get("text"))
        finally:
            metrics.SOCKETS_OPEN.dec()
            socket.closed()
            scope.get("extensions", {}).pop(WIRE, None)  # the server's connection holds this scope: a cycle


async def _principal(runtime: Runtime, scope: Any, query: dict[str, str]) -> Principal:
    """Who connects: by `token`, by an Authorization header, or by `participant_id` in open mode."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    credential = query.get("token") or bearer(headers.get("authorization"))
    participant_id = query.get("participant_id")
    if credential is None and settings.FLEETLM.auth == "open":
        _check_origin(headers.get("origin"), headers.get("host", ""))
        if participant_id is None:
            raise InvalidRequest("Say who you are: ?participant_id=…", field="participant_id")
    principal = await authenticate(runtime, credential, participant_id=participant_id)
    if principal.is_server and participant_id is not None:
        named = open_participant(participant_id)
        return Principal(
            scopes=principal.scopes, participant_id=named.participant_id, may_create=principal.may_create
        )
    if participant_id is not None:
        principal.speak_as(participant_id)
    return principal


def _check_origin(origin: str | None, host: str) -> None:
    """In open mode another web page must not speak as somebody here: same host, loopback or an allowed origin only."""
    if origin is None or origin in settings.FLEETLM.allowed_origins:
        return
    parts = urlsplit(origin)
    if parts.netloc != host and parts.hostname not in LOOPBACK_HOSTS:
        raise NotAllowed("This web origin is not one of FLEETLM_ALLOWED_ORIGINS.", origin=origin[:200])


async def _refuse(scope: Any, send: Any, error: FleetLMError) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + error.status // 100})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(error.as_dict())})
