"""The one connection of a client while something is followed: a socket, or event streams where sockets do not open.

It decides which, and when to try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import anyio

from .errors import CLOSED, INVALID_ANSWER, UNREACHABLE, FleetLMError
from .rest import UNAUTHENTICATED, Rest
from .retry import Timing
from .socket import Socket, open_socket
from .streams import Streams
from .tasks import Tasks
from .tokens import Tokens
from .transport import Channel, NotOpened, Transport

Status = Literal["idle", "connecting", "online", "offline", "refused", "closed"]

CLOSE_TOKEN_EXPIRED: Final = 4001
CLOSE_RESTARTING: Final = 1012
STEADY_SECONDS: Final = 5.0
"""A socket that lived so long was a good one: after it the pauses begin anew."""
LINGER_SECONDS: Final = 2.0
"""A connection is kept so long after nothing is followed any more: the next one is often on its way."""
FAILURES_UNTIL_STREAMS: Final = 3
"""So often in a row sockets must fail, where one has opened before, until streams take over."""
LONGEST_RETRY: Final = 16
"""How many times longer the pause between two tries of a socket may become."""


class Link:
    """The connection, shared by everything that is followed."""

    def __init__(
        self,
        url: str,
        participant_id: str | None,
        transport: Literal["auto", "websocket", "sse"],
        rest: Rest,
        tokens: Tokens,
        timing: Timing,
        tasks: Tasks,
    ) -> None:
        self.status: Status = "idle"
        self._url = _socket_url(url, participant_id)
        self._mode = transport
        self._rest = rest
        self._tokens = tokens
        self._timing = timing
        self._tasks = tasks
        self._socket: Socket | None = None
        self._streams = Streams(rest, tokens)
        self._streaming = transport == "sse"
        self._connecting: asyncio.Task[Transport] | None = None
        self._socket_retry: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._holders = 0
        self._failures = 0
        self._blocked = 0
        self._has_opened = False
        self._not_before = 0.0

    def paces(self, error: FleetLMError) -> bool:
        """Whether a `join` after this error waits by itself as long as is right."""
        return error.code == UNREACHABLE and not self._streaming and not self._is_open

    def hold(self) -> None:
        """Something is followed from now on."""
        self._holders += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def release(self) -> None:
        """It is not followed any more."""
        self._holders -= 1
        if self._holders == 0 and self.status != "closed":
            self._rest_later()

    async def join(self, topic: str, place: Mapping[str, Any]) -> Channel:
        """Join a topic, over a connection that is made if there is none: tried once. Raises `FleetLMError`."""
        transport = await self._connected()
        try:
            channel = await transport.join(topic, place)
        except FleetLMError as error:
            if transport is self._streams:
                self.status = "offline" if error.passing else self.status
            raise
        self.status = "online"
        return channel

    async def close(self) -> None:
        """End the connection for good."""
        self.status = "closed"
        if self._linger is not None:
            self._linger.cancel()
        await self._give_up()

    @property
    def _is_open(self) -> bool:
        return self._socket is not None and self._socket.lost is None

    async def _connected(self) -> Transport:
        if self.status == "closed":
            raise FleetLMError(CLOSED, "This client was closed.")
        if self._streaming:
            self._begin_socket_retry()
            return self._streams
        if self._socket is not None and self._is_open:
            return self._socket
        if self._connecting is None or self._connecting.done():
            self._connecting = self._tasks.spawn(self._connect(), "connect")
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Transport:
        """One try, for all who wait for it; not before its time."""
        self.status = "connecting"
        await anyio.sleep(max(self._not_before - time.monotonic(), 0))
        try:
            self._adopt(await self._open())
        except NotOpened as error:
            if await self._is_blocked():
                self._streaming = True
                self._begin_socket_retry()
                return self._streams
            self._note_failure()
            self.status = "offline"
            raise error from None
        except FleetLMError as error:
            self._note_failure()
            self.status = "offline" if error.passing else "refused"
            raise
        assert self._socket is not None
        return self._socket

    async def _open(self) -> Socket:
        token = await self._tokens.current()
        try:
            return await open_socket(self._url, token, self._timing)
        except FleetLMError as error:
            if error.status != UNAUTHENTICATED or not await self._tokens.replace(token):
                raise
        return await open_socket(self._url, await self._tokens.current(), self._timing)

    def _adopt(self, socket: Socket) -> None:
        self._socket = socket
        self._has_opened, self._blocked = True, 0
        self.status = "online"
        self._tasks.spawn(self._attend(socket), "attend the socket")
        if self._holders == 0:
            self._rest_later()

    async def _attend(self, socket: Socket) -> None:
        """When a socket is lost, settle when the next one may be opened."""
        opened = time.monotonic()
        await socket.closed.wait()
        if self._socket is not socket:
            return
        self.status = "offline"
        if time.monotonic() - opened > STEADY_SECONDS:
            self._failures = 0
        self._note_failure()
        if socket.close_code == CLOSE_RESTARTING:
            spread = random.random() * 5 * self._timing.backoff  # noqa: S311  # no secret
            self._not_before = time.monotonic() + spread
        elif socket.close_code == CLOSE_TOKEN_EXPIRED:
            if self._failures == 1:
                self._not_before = 0.0
            # What the token function raises is met again, and told, at the next try.
            with contextlib.suppress(FleetLMError):
                await self._tokens.replace(socket.token)
        await socket.close()

    def _note_failure(self) -> None:
        self._failures += 1
        self._not_before = time.monotonic() + self._timing.pause(self._failures)

    async def _is_blocked(self) -> bool:
        """Whether sockets do not open although the server is there."""
        if self._mode != "auto":
            return False
        try:
            await self._rest.once("GET", "conversations", query={"limit": 1})
        except FleetLMError as error:
            if error.code in (UNREACHABLE, INVALID_ANSWER):
                return False
        self._blocked += 1
        return self._blocked >= (FAILURES_UNTIL_STREAMS if self._has_opened else 1)

    # Back to sockets.

    def _begin_socket_retry(self) -> None:
        if self._mode == "auto" and (self._socket_retry is None or self._socket_retry.done()):
            self._socket_retry = self._tasks.spawn(self._retry_socket(), "retry sockets")

    async def _retry_socket(self) -> None:
        """Try a socket now and then; once one opens, everything moves over to it."""
        shortest = wait = self._timing.socket_retry
        while True:
            await anyio.sleep(wait)
            try:
                self._adopt(await self._open())
            except FleetLMError:
                wait = min(wait * 2, shortest * LONGEST_RETRY)
            else:
                self._streaming = False
                self._streams.interrupt()
                return

    # Nothing is followed.

    def _rest_later(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._linger = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._rest_now)

    def _rest_now(self) -> None:
        self._linger = None
        self.status = "idle"
        self._tasks.spawn(self._give_up(), "give up the connection")

    async def _give_up(self) -> None:
        socket, self._socket = self._socket, None
        if self._socket_retry is not None:
            self._socket_retry.cancel()
        if socket is not None:
            await socket.close()


def _socket_url(url: str, participant_id: str | None) -> str:
    """Where the Phoenix-protocol socket is, serializer V2."""
    parts = urlsplit(url.rstrip("/"))
    query = {"vsn": "2.0.0", **({} if participant_id is None else {"participant_id": participant_id})}
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path}/socket/websocket?{urlencode(query)}"
