"""The one door for outgoing HTTP. Nothing else in the project opens a connection to an address that someone gave us."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agents.door.addresses import AddressRules
from agents.door.answers import Answer, Patience, reason
from agents.door.connections import CONNECT_SECONDS, Response, Target, UnexpectedAnswer, post
from agents.door.deadlines import Deadlines
from agents.door.names import AllowedNames, SystemNames
from agents.errors import AddressBlocked, AgentUnreachable, AnswerInvalid, CallError, CallTimedOut

KEEPALIVE_SECONDS: Final = 4.0
"""Shorter than the five seconds after which common servers hang up, so that a call rarely meets a connection
that dies."""

DNS_SECONDS: Final = 10
TARGETS: Final = 1_024
"""URLs that are kept read."""


class Door:
    """Posts to agents: to allowed addresses only, TLS verified, no redirects, no cookies, no proxy of the environment.

    Connections are pooled; how many at once is the caller's business. Use it as an async context manager.

    The address is judged where it is dialled, as the socket for it is made. So there is no way around the rules: a
    name whose address changes after it was looked up, an address written as one number, a redirect.
    """

    def __init__(
        self,
        *,
        patience: Patience,
        max_bytes: int,
        rules: AddressRules,
        names: AbstractResolver | None = None,
        dns_seconds: int = DNS_SECONDS,
    ) -> None:
        """`names` looks up hosts, as the system does by default; what it finds is kept for `dns_seconds`."""
        self._patience = patience
        self._max_bytes = max_bytes
        self._rules = rules
        self._names = names
        self._dns_seconds = dns_seconds
        self._connector: aiohttp.TCPConnector | None = None
        self._target = lru_cache(maxsize=TARGETS)(_target)
        self._deadlines = Deadlines()

    async def __aenter__(self) -> Self:
        self._resolver = AllowedNames(self._names or SystemNames(), self._rules)
        self._connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEPALIVE_SECONDS,
            resolver=self._resolver,
            use_dns_cache=self._dns_seconds > 0,
            ttl_dns_cache=self._dns_seconds,
            socket_factory=self._dial,
            ssl=_tls(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connector is not None:
            await self._connector.close()
            await self._resolver.close()
            self._deadlines.close()

    def call(
        self, url: str, headers: Mapping[str, str], body: bytes, *, patience: Patience | None = None
    ) -> AbstractAsyncContextManager[Answer]:
        """Post, and have the answer inside, whatever its status.

        Leaving before the answer's end closes the connection, and so does a cancellation. Raises `AddressBlocked`,
        `CallTimedOut`, `AgentUnreachable`, or `AnswerInvalid` for an answer that is not HTTP.
        """
        if self._connector is None:
            raise RuntimeError("The door is closed; use it as an async context manager.")
        target = self._target(url, self._rules.require_https)
        send = partial(post, self._connector, target, headers, body)
        return _Call(send, patience or self._patience, self._deadlines, self._max_bytes)

    def _dial(self, found: tuple[Any, ...]) -> socket.socket:
        """The socket for an address that is dialled next, exactly as it stands here."""
        family, kind, protocol, _, address = found
        try:
            numeric = ip_address(address[0])
        except ValueError:
            raise AddressBlocked(
                f"{reason(ValueError(address[0]))} may not be called: it is no plain address."
            ) from None
        self._rules.check(numeric)
        return socket.socket(family, kind, protocol)


def _target(url: str, require_https: bool) -> Target:
    """Where the URL leads. Raises `AddressBlocked` for one that is never called, wherever it leads."""
    try:
        target = URL(url)
    except ValueError as error:
        raise AddressBlocked(f"The URL cannot be read: {reason(error)}.") from None
    if target.scheme not in {"http", "https"} or not target.raw_host:
        raise AddressBlocked("The URL is not an http:// or https:// address.")
    if target.scheme == "http" and require_https:
        raise AddressBlocked(
            "http:// is refused, because calls carry conversations: give the endpoint an https:// URL "
            "(FLEETLM_AGENT_PLAIN_HTTP=true allows http://, for a network of your own)."
        )
    if target.raw_user is not None or target.raw_password is not None:
        raise AddressBlocked("The URL holds a user or a password; give the endpoint a key instead.")
    return Target(target)


class _Call:
    """One call; written out, because an async generator costs a tenth of what the whole call does."""

    __slots__ = ("_deadlines", "_max_bytes", "_patience", "_response", "_send")

    def __init__(
        self,
        send: Callable[[], Awaitable[Response]],
        patience: Patience,
        deadlines: Deadlines,
        max_bytes: int,
    ) -> None:
        self._send = send
        self._patience = patience
        self._deadlines = deadlines
        self._max_bytes = max_bytes

    async def __aenter__(self) -> Answer:
        started = asyncio.get_running_loop().time()
        seconds = self._patience.answer
        try:
            with self._deadlines.until(started + seconds):
                try:
                    self._response = await self._send()
                except UnexpectedAnswer:
                    # Nothing was sent, and that connection is closed.
                    self._response = await self._send()
        except aiohttp.ConnectionTimeoutError:
            raise AgentUnreachable(f"There was no connection within {CONNECT_SECONDS:g} s.") from None
        except TimeoutError:
            raise CallTimedOut(f"The agent did not begin to answer within {seconds:g} s.") from None
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            raise _as_call_error(error) from None
        return Answer(self._response, self._patience, self._deadlines, started, self._max_bytes)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._response.is_over:
            self._response.close()


def _as_call_error(error: Exception) -> CallError:
    if isinstance(error, aiohttp.InvalidURL):
        return AddressBlocked("The host of the URL is neither a name nor a plain address.")
    if isinstance(error, HttpProcessingError):
        return AnswerInvalid(f"The agent's answer is not HTTP: {reason(error)}.")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return AgentUnreachable("The agent hung up before the head of its answer was complete.")
    return AgentUnreachable(f"{type(error).__name__}: {reason(error)}.")


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
