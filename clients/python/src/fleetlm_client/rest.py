"""The REST API: one call, tried again where that is safe."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpx

from .errors import INVALID_ANSWER, FleetLMError, error_of, unreachable
from .retry import Timing, patiently
from .tokens import Tokens
from .wire import encode

SAFE: Final = frozenset({"GET", "HEAD", "PUT"})
UNAUTHENTICATED: Final = 401


class NotSent(FleetLMError):
    """No connection could be made, so nothing can have happened."""


class Rest:
    """Calls of one server with one token."""

    def __init__(self, url: str, tokens: Tokens, timing: Timing, retry_for: float | None) -> None:
        self._url = url.rstrip("/")
        self._tokens = tokens
        self._timing = timing
        self._retry_for = retry_for
        self._http: httpx.AsyncClient | None = None
        self._closed = False

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        safe: bool | None = None,
        for_ever: bool = False,
        within: float | None = None,
    ) -> Any:
        """The answer's JSON. While the server is away it is tried again for `retry_for` seconds, if the call is `safe` to be
        made twice or was not made at all; each try has `within` seconds. Raises `FleetLMError`."""
        repeatable = method.upper() in SAFE or idempotency_key is not None if safe is None else safe
        return await patiently(
            lambda: self.once(
                method, path, body=body, query=query, idempotency_key=idempotency_key, within=within
            ),
            self._timing,
            None if for_ever else self._retry_for,
            lambda error: error.passing and (repeatable or isinstance(error, NotSent)),
        )

    async def once(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        within: float | None = None,
    ) -> Any:
        """The same, tried once; with a new token once more."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        patience = self._timing.reply if within is None else within
        response = await self._open(method, path, body, query, headers, patience, stream=False)
        return _answer(response)

    async def stream(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        """A response whose body is still to be read, and which is to be closed. Raises `FleetLMError`."""
        return await self._open("GET", path, None, query, headers, self._timing.silence, stream=True)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()

    async def _open(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        patience: float,
        *,
        stream: bool,
    ) -> httpx.Response:
        http = self._client()
        timeout = httpx.Timeout(self._timing.connect, read=patience)
        content = None if body is None else encode(body).encode()
        url = self._url + (path if path.startswith("/") else f"/api/{path}")
        request = http.build_request(
            method, url, params=_texts(query), content=content, headers=headers, timeout=timeout
        )
        if content is not None:
            request.headers["Content-Type"] = "application/json"
        token = await self._tokens.current()
        response = await self._send(http, request, token, stream)
        if response.status_code == UNAUTHENTICATED:
            refusal = await _refusal(response)
            if not await self._tokens.replace(token):
                raise refusal
            response = await self._send(http, request, await self._tokens.current(), stream)
        if not response.is_success:
            raise await _refusal(response)
        return response

    async def _send(
        self, http: httpx.AsyncClient, request: httpx.Request, token: str | None, stream: bool
    ) -> httpx.Response:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        try:
            return await http.send(request, stream=stream)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent("unreachable", f"{self._url} cannot be reached: {_reason(error)}") from None
        except httpx.TransportError as error:
            raise unreachable(f"{self._url} did not answer: {_reason(error)}") from None
        except httpx.RequestError as error:
            raise FleetLMError(INVALID_ANSWER, f"The answer cannot be read: {error}") from None

    def _client(self) -> httpx.AsyncClient:
        if self._closed:
            raise FleetLMError("closed", "This client was closed.")
        if self._http is None:
            # As many connections as there are event streams. Reading all the certificates takes long, and http needs none.
            trusted = self._url.startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=20), verify=trusted)
        return self._http


def _texts(query: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Query parameters as the server reads them; those that are None are left out."""
    if query is None:
        return None
    return {
        name: encode(value) if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or "the connection was lost"


def _answer(response: httpx.Response) -> Any:
    if not response.content:
        return None
    if "json" not in response.headers.get("content-type", ""):
        return response.text
    try:
        return response.json()
    except ValueError:
        raise FleetLMError(INVALID_ANSWER, "The answer is no JSON.", status=response.status_code) from None


async def _refusal(response: httpx.Response) -> FleetLMError:
    body: Any = None
    try:
        with contextlib.suppress(ValueError, httpx.RequestError):
            body = json.loads(await response.aread())
    finally:
        await response.aclose()
    return error_of(
        body,
        f"The server answered {response.status_code}, and not as FleetLM does.",
        status=response.status_code,
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    """A `Retry-After` in seconds; one that is a date counts as none."""
    with contextlib.suppress(ValueError):
        return float(text) if text else None
    return None
