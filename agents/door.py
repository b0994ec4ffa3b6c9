"""The one door for outgoing HTTP. Nothing else in the project opens a connection to an address that someone gave us."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from agents.errors import AgentUnreachable, AnswerInvalid, CallTimedOut

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 4.0
"""Shorter than the five seconds after which common servers hang up, so that a call rarely meets a connection
that dies."""

DNS_SECONDS = 10
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    content_type: str
    body: bytes
    retry_after: str | None = None


class Door:
    """Posts to agents: pooled connections, TLS verified, no redirects, no cookies, no proxy of the
    environment, nothing compressed. How many at once is the caller's business. Use it as an async context manager."""

    def __init__(self, *, timeout: float, max_bytes: int) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout, sock_connect=min(CONNECT_SECONDS, self._timeout)
            ),
            headers={"user-agent": "FleetLM/1", "accept-encoding": "identity"},
            skip_auto_headers=("accept",),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _connector(self) -> aiohttp.TCPConnector:
        # The one place where names become addresses: which of them may be called is to be decided here.
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Post and read the whole answer, whatever its status.

        Raises `CallTimedOut`, `AgentUnreachable`, or `AnswerInvalid` for an answer over the limit.
        """
        if self._session is None:
            raise RuntimeError("The door is closed; use it as an async context manager.")
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return Response(
                    status=answer.status,
                    content_type=answer.content_type,
                    body=await self._read(answer),
                    retry_after=answer.headers.get("Retry-After"),
                )
        except TimeoutError:
            raise CallTimedOut(f"The call took longer than {self._timeout:g} s.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a URL or a status line that cannot be read.
            raise AgentUnreachable(f"{type(error).__name__}: {error}") from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await answer.content.read(CHUNK_BYTES):
            size += len(chunk)
            if size > self._max_bytes:
                answer.close()
                raise AnswerInvalid(f"The answer is over {self._max_bytes} bytes.", status=answer.status)
            chunks.append(chunk)
        return b"".join(chunks)
