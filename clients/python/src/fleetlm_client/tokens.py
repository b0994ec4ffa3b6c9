"""Tokens: whose they are, until when, and where the next one comes from."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import inspect
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import anyio

from .errors import FleetLMError

T = TypeVar("T")
TokenFunction = Callable[[], "str | Awaitable[str]"]

UNAVAILABLE: Final = "token_unavailable"
EARLY_SECONDS: Final = 30.0
EARLY_PART: Final = 0.1
"""A token is replaced so long before it expires; one that lives shortly, when a tenth of its time is left."""


class Tokens:
    """The token in use, and the function that gives the next one, if there is one."""

    def __init__(self, token: str | TokenFunction | None, patience: float) -> None:
        """The function has `patience` seconds."""
        self._token = token if isinstance(token, str) else None
        self._function = token if callable(token) else None
        self._replace_at: float | None = None
        self._patience = patience
        self._replacing = asyncio.Lock()

    @property
    def participant_id(self) -> str | None:
        """Whose token is in use, as far as is known."""
        return None if self._token is None else subject(self._token)

    async def current(self) -> str | None:
        """A token that is not about to expire, if another can be had; None without one. Raises `FleetLMError`
        `token_unavailable`."""
        if self._function is None:
            return self._token
        try:
            async with self._turn():
                if self._token is None or (self._replace_at is not None and time.time() >= self._replace_at):
                    await self._fetch(self._function)
        except FleetLMError:
            if not self._is_still_good():
                raise
        return self._token

    async def replace(self, used: str | None) -> bool:
        """Have another token than the one that was refused; whether there is one. Raises like `current`."""
        if self._function is None:
            return False
        async with self._turn():
            if self._token == used:
                await self._fetch(self._function)
            return self._token != used

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """One at a time asks the function; waiting for one's turn counts, too."""
        try:
            with anyio.fail_after(self._patience):
                async with self._replacing:
                    yield
        except TimeoutError:
            raise FleetLMError(UNAVAILABLE, "The token function gave no token in time.") from None

    def _is_still_good(self) -> bool:
        """Whether the known token can be used although no other can be had; then that is not tried again at once."""
        expiry = None if self._token is None else expires_at(self._token)
        now = time.time()
        if expiry is None or expiry <= now:
            return False
        self._replace_at = now + (expiry - now) * EARLY_PART
        return True

    async def _fetch(self, function: TokenFunction) -> None:
        try:
            token = await _call(function)
        except Exception as error:
            raise FleetLMError(UNAVAILABLE, f"The token function failed: {error!r}") from error
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
        token = await _in_thread(function)
        if inspect.isawaitable(token):
            token = await token
    if not isinstance(token, str):
        raise TypeError(f"It returned {type(token).__name__}, not str.")
    return token


async def _in_thread(function: Callable[[], T]) -> T:
    """What it returns, waited for. It cannot be ended: its thread must hold up neither a timeout nor the program's end."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(function))
        except BaseException as error:  # noqa: BLE001  # told to the one who waits
            # The others mean something of their own to an event loop.
            is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
            future.set_exception(error if is_plain else RuntimeError(repr(error)))

    threading.Thread(target=work, name="fleetlm: token", daemon=True).start()
    return await asyncio.wrap_future(future)


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
