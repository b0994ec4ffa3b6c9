"""One call of an agent, from the claimed stream to how it ended. No transaction is open while the agent is
called."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import random
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

from cryptography.fernet import InvalidToken
from django.conf import settings
from opentelemetry import propagate, trace

from agents import rules
from agents.calls import AttemptRecord, ClaimedStream, Finish
from agents.dialects import DIALECTS, Call
from agents.door import Door
from agents.errors import AnswerInvalid, CallError
from agents.secrets import open_secrets
from conversations.append import Appended, AppendRequest
from conversations.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    FleetLMError,
    NotAMember,
    Overloaded,
    Unavailable,
)
from conversations.rules import Limits
from observability import metrics

Append = Callable[[AppendRequest], Awaitable[Appended]]

APPEND_PAUSE: Final = 0.5
"""Seconds between tries to append an answer while that is not possible for now."""

_UNWANTED: Final = (ConversationClosed, ConversationNotFound, NotAMember)
"""The conversation takes no answer of this agent any more; calling it again would change nothing."""

_tracer: Final = trace.get_tracer(__name__)


class Courier:
    """Makes the calls of claimed streams: writes the request, posts it, reads the answer and appends it."""

    def __init__(self, door: Door, append: Append) -> None:
        self._door = door
        self._append = append
        self._config = config = settings.FLEETLM
        self._limits = Limits(config.text_bytes, config.content_bytes, config.json_depth)

    async def deliver(
        self,
        stream: ClaimedStream,
        messages: Sequence[rules.ContextMessage],
        participants: Sequence[Mapping[str, str]],
    ) -> Finish:
        """Call the agent if there is something new for it, and append its answer. Returns how that ended."""
        new_from_seq = rules.new_from_seq(messages, stream.cursor, stream.agent_id)
        if new_from_seq is None:
            return Finish(stream, delivered=True)
        run_id, started = uuid4(), perf_counter()
        outcome, error = "accepted", None
        try:
            drafts = await self._call(stream, run_id, messages, new_from_seq, participants)
            if drafts is not None:
                outcome = "answered"
                await self._append_answer(stream, drafts)
        except CallError as failure:
            outcome, error = failure.outcome, failure
        seconds = perf_counter() - started
        metrics.DELIVERIES.labels(outcome).inc()
        metrics.DELIVERY_SECONDS.observe(seconds)
        attempt = AttemptRecord(
            run_id=run_id,
            outcome=outcome,
            status=_status(outcome, error),
            duration_ms=round(seconds * 1000),
            error=str(error or ""),
        )
        if error is None:
            return Finish(stream, delivered=True, attempt=attempt)
        return Finish(stream, delivered=False, retry_in=self._next_retry(stream, error), attempt=attempt)

    async def _call(
        self,
        stream: ClaimedStream,
        run_id: UUID,
        messages: Sequence[rules.ContextMessage],
        new_from_seq: int,
        participants: Sequence[Mapping[str, str]],
    ) -> tuple[rules.Draft, ...] | None:
        now = datetime.now(UTC)
        dialect = DIALECTS[stream.dialect]
        request = dialect.write(
            Call(
                call_id=stream.call_id,
                run_id=run_id,
                agent_id=stream.agent_id,
                key=stream.key,
                is_dm=stream.is_dm,
                epoch=stream.epoch,
                messages=messages,
                new_from_seq=new_from_seq,
                participants=participants,
                reply_url=f"{self._config.base_url}/api/conversations/{stream.key}/messages",
                secrets=_secrets(stream, now),
                now=now,
            )
        )
        span = _tracer.start_span("agent call", kind=trace.SpanKind.CLIENT)
        try:
            headers = request.headers | _trace_headers(span, stream.call_id, run_id)
            response = await self._door.post(stream.url, headers, request.body)
        finally:
            span.end()
        return dialect.read(response, self._limits)

    async def _append_answer(self, stream: ClaimedStream, drafts: Sequence[rules.Draft]) -> None:
        """Append each message once, however often this call is made: its `client_id` comes from the call's
        id."""
        for number, draft in enumerate(drafts):
            request = AppendRequest(
                key=stream.key,
                sender_id=stream.agent_id,
                text=draft.text,
                kind=draft.kind,
                content=draft.content or {},
                metadata=draft.metadata or {},
                client_id=f"{stream.call_id}:{number}",
            )
            try:
                await self._append_patiently(request)
            except ClientIdReused:
                # An earlier attempt got this far, and the agent now answers otherwise: the first answer
                # stands.
                continue
            except _UNWANTED:
                return
            except FleetLMError as error:
                raise AnswerInvalid(str(error), status=200) from error

    async def _append_patiently(self, request: AppendRequest) -> None:
        # The answer is too good to be thrown away: until the lease is lost, which cancels this, it waits.
        while True:
            try:
                await self._append(request)
            except (Overloaded, Unavailable):
                await asyncio.sleep(APPEND_PAUSE)
            else:
                return

    def _next_retry(self, stream: ClaimedStream, error: CallError) -> float | None:
        since = stream.first_failed_at
        return rules.next_retry(
            self._config.agent_retry_schedule,
            stream.attempt,
            random(),  # noqa: S311  # spreads retries, keeps no secret
            failing_seconds=(datetime.now(UTC) - since).total_seconds() if since else 0.0,
            give_up_after=self._config.agent_retry_for,
            retry_after=error.retry_after,
        )


def _status(outcome: str, error: CallError | None) -> int | None:
    if error is not None:
        return error.status
    return 204 if outcome == "accepted" else 200


def _secrets(stream: ClaimedStream, now: datetime) -> list[str]:
    try:
        return open_secrets(stream.secrets, now)
    except InvalidToken:
        raise CallError("The endpoint's secrets were stored under another FLEETLM_SECRET_KEY.") from None


def _trace_headers(span: trace.Span, call_id: UUID, run_id: UUID) -> dict[str, str]:
    """W3C Trace Context: of this span, or, where nothing traces, one that all attempts of a call share."""
    if not span.get_span_context().is_valid:
        return {"traceparent": f"00-{call_id.hex}-{run_id.hex[:16]}-00"}
    headers: dict[str, str] = {}
    propagate.inject(headers, trace.set_span_in_context(span))
    return headers
