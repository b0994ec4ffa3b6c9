"""Tokens: whose they are, until when, and where the next one comes from."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio.to_thread

from .errors import FleetLMError

TokenFunction = Callable[[], "str | Awaitable[str]"]

EARLY_SECONDS: Final = 30.0
EARLY_PART: Final = 0.1
"""A token is replaced so long before it expires; one that lives shortly, when a tenth of its time is left."""


class Tokens:
    """The token in use, and the function that gives the next one, if there is one."""

    def __init__(self, token: str | TokenFunction | None) -> None:
        self._token = token if isinstance(token, str) else None
        self._function = token if callable(token) else None
        self._replace_at: float | None = None
        self._replacing = asyncio.Lock()

    @property
    def participant_id(self) -> str | None:
        """Whose token is in use, as far as is known."""
        return None if self._token is None else subject(self._token)

    async def current(self) -> str | None:
        """A token that is not about to expire; None without one. Raises `FleetLMError` `token_unavailable`."""
        if self._function is None:
            return self._token
        async with self._replacing:
            if self._token is None or (self._replace_at is not None and time.time() >= self._replace_at):
                await self._fetch(self._function)
            return self._token

    async def replace(self, used: str | None) -> bool:
        """Have another token than the one that was refused; whether there is one. Raises like `current`."""
        if self._function is None:
            return False
        async with self._replacing:
            if self._token == used:
                await self._fetch(self._function)
            return self._token != used

    async def _fetch(self, function: TokenFunction) -> None:
        try:
            token = await _call(function)
        except Exception as error:
            raise FleetLMError("token_unavailable", f"The token function failed: {error!r}") from error
        now, expiry = time.time(), expires_at(token)
        self._token = token
        self._replace_at = (
            None if expiry is None else expiry - min(EARLY_SECONDS, (expiry - now) * EARLY_PART)
        )


async def _call(function: TokenFunction) -> str:
    """Its token; a function that is not asynchronous may take its time, so it runs in a thread."""
    if inspect.iscoroutinefunction(function):
        token = await function()
    else:
        token = await anyio.to_thread.run_sync(function)
        if inspect.isawaitable(token):
            token = await token
    if not isinstance(token, str):
        raise TypeError(f"It returned {type(token).__name__}, not str.")
    return token


def subject(token: str) -> str | None:
    """Whose token it is; None for an API key."""
    said = _claims(token).get("sub")
    return said if isinstance(said, str) else None


def expires_at(token: str) -> float | None:
    """When it expires, in seconds since 1970; None for what does not say so."""
    said = _claims(token).get("exp")
    return float(said) if isinstance(said, (int, float)) else None


def _claims(token: str) -> dict[str, Any]:
    """What a participant token says of itself, unverified; nothing for an API key."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
