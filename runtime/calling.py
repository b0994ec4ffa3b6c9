"""One HTTP call: the guarded door, how long it may take, and what the log keeps of it. For agents and subscriptions."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from time import perf_counter
from typing import Any, Protocol

from cryptography.fernet import InvalidToken
from django.conf import settings
from prometheus_client import Counter, Histogram

from agents import heads
from agents.calls import AttemptRecord, ClaimedStream
from agents.dialects import Request
from agents.door import AddressRules, Answer, Door, Head, Patience
from agents.errors import CallError
from agents.secrets import Private, SealedSecret, open_private, open_secrets
from observability import metrics


def make_door() -> Door:
    """The door as the settings have it. Use it as an async context manager."""
    config = settings.FLEETLM
    return Door(
        patience=Patience(config.agent_timeout, config.agent_idle_timeout, config.agent_stream_timeout),
        max_bytes=config.agent_response_bytes,
        rules=AddressRules.parse(
            config.agent_allowed_networks,
            require_https=config.environment != "development" and not config.agent_plain_http,
        ),
    )


class Keyed(Protocol):
    """What is known of where a call goes: a claimed stream, or an endpoint."""

    @property
    def secrets(self) -> list[SealedSecret]:
        """Signing secrets, sealed."""

    @property
    def sealed(self) -> str:
        """Custom headers and API key, sealed."""

    @property
    def timeout_seconds(self) -> float | None:
        """How long an answer may take; None: the server's default."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What an endpoint keeps to itself, in plain."""

    secrets: list[str]
    private: Private


def open_keys(endpoint: Keyed, now: datetime) -> Keys:
    """The signing secrets and the custom headers of an endpoint. Raises `CallError` if they cannot be read."""
    try:
        return Keys(open_secrets(endpoint.secrets, now), open_private(endpoint.sealed))
    except InvalidToken:
        raise CallError("The endpoint's secrets were stored under another FLEETLM_SECRET_KEY.") from None


def private_headers(private: Private) -> dict[str, str]:
    """The headers of an endpoint's own, by name in lower case; those that the server sends itself go after them."""
    key = {"authorization": f"Bearer {private.api_key}"} if private.api_key else {}
    return key | {name.lower(): value for name, value in private.headers.items()}


def patience_for(endpoint: Keyed) -> Patience | None:
    """How long this endpoint may take; None: as long as any."""
    seconds = endpoint.timeout_seconds
    if seconds is None:
        return None
    config = settings.FLEETLM
    return Patience(
        seconds, min(seconds, config.agent_idle_timeout), max(seconds, config.agent_stream_timeout)
    )


@dataclass(slots=True)
class Exchange:
    """A call as it goes on, for the log of attempts."""

    started: float = field(default_factory=perf_counter)
    status: int | None = None
    request: str = ""
    response: str = ""
    _body: bytearray = field(default_factory=bytearray)
    _head: Head | None = None

    def sends(self, request: Request, custom_headers: Mapping[str, str]) -> None:
        """This goes out. The values of custom headers are not kept."""
        limit = settings.FLEETLM.attempt_body_bytes
        if limit:
            self.request = heads.request_text(
                request.url, request.headers, custom_headers, request.body, limit
            )

    def receives(self, head: Head) -> None:
        """An answer has begun."""
        self.status = head.status
        self._head = head

    def note(self, data: bytes) -> None:
        """Bytes of the answer's body have come."""
        room = settings.FLEETLM.attempt_body_bytes - len(self._body)
        if room > 0:
            self._body += data[:room]

    async def note_refusal(self, answer: Answer) -> None:
        """Keep what an agent says of why it refuses."""
        self.note(await answer.snippet(settings.FLEETLM.attempt_body_bytes))

    def record(self, stream: ClaimedStream, outcome: str, error: str = "") -> AttemptRecord:
        """The call is over: what the log keeps, counted in the metrics too."""
        seconds = perf_counter() - self.started
        _deliveries(stream.endpoint_name, outcome).inc()
        _delivery_seconds(stream.endpoint_name).observe(seconds)
        limit = settings.FLEETLM.attempt_body_bytes
        if self._head is not None and limit:
            self.response = heads.answer_text(self._head.status, self._head.headers, bytes(self._body), limit)
        return AttemptRecord(
            outcome=outcome,
            status=self.status,
            duration_ms=round(seconds * 1000),
            error=error,
            request=self.request,
            response=self.response,
        )


@lru_cache(maxsize=10_000)
def _deliveries(endpoint: str, outcome: str) -> Counter:
    return metrics.DELIVERIES.labels(endpoint, outcome)


@lru_cache(maxsize=10_000)
def _delivery_seconds(endpoint: str) -> Histogram:
    return metrics.DELIVERY_SECONDS.labels(endpoint)


class Stop:
    """Lets others end a call while it is under way, and only then: not in the middle of what follows it."""

    def __init__(self) -> None:
        self.reason = ""
        self._task: asyncio.Task[Any] | None = None

    def __call__(self, reason: str) -> None:
        """End the call: `cancelled` or `interrupted`. One that is over already stays as it is."""
        if not self.reason:
            self.reason = reason
            if self._task is not None:
                self._task.cancel()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """What runs inside can be ended; it then raises `Stopped`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in one
        self._raise_if_asked()
        self._task = task
        try:
            yield
        except asyncio.CancelledError:
            # Cancelled by `__call__` alone; a lease that is lost, or the end of the process, cancels once more.
            if self.reason and task.uncancel() == 0:
                raise Stopped from None
            raise
        finally:
            self._task = None

    def _raise_if_asked(self) -> None:
        if self.reason:
            raise Stopped


class Stopped(Exception):
    """Someone has ended the call."""
