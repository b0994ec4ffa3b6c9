"""One call of an agent, from the claimed stream to how it ended. No transaction is open while the agent is
called."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import random
from typing import Final
from uuid import UUID

from django.conf import settings
from opentelemetry import propagate, trace

from agents import context, endpoints, rules
from agents.calls import ClaimedStream, Ending, Finish
from agents.dialects import DIALECTS, Call, Reader
from agents.door import Answer, Door
from agents.errors import AgentUnreachable, CallError, CallTimedOut
from conversations.rules import Limits
from runtime.answers import Answers
from runtime.briefs import Brief
from runtime.calling import Exchange, Keys, Stop, Stopped, open_keys, patience_for
from runtime.database import in_thread
from runtime.run_relay import Run, RunRelay

GONE: Final = 410
"""The status by which an agent says that it never wants to be called again."""

_tracer: Final = trace.get_tracer(__name__)


class Courier:
    """Makes the calls of claimed streams: writes the request, posts it, relays the answer and appends it."""

    def __init__(self, door: Door, answers: Answers, relay: RunRelay) -> None:
        self._door = door
        self._answers = answers
        self._relay = relay
        self._config = config = settings.FLEETLM
        self._limits = Limits(config.text_bytes, config.content_bytes, config.json_depth)

    async def deliver(self, stream: ClaimedStream, brief: Brief, stop: Stop) -> Finish:
        """Call the agent if there is something new for it, and append its answer. Returns how that ended."""
        agent_id = stream.agent_id or ""
        if stream.lost_run_id is not None:
            self._relay.lost(
                conversation_id=stream.conversation_id,
                run_id=stream.lost_run_id,
                agent_id=agent_id,
                cancelled=stream.lost_run_cancelled,
            )
        new_from_seq = rules.new_from_seq(brief.messages, stream.cursor, agent_id)
        if new_from_seq is None or stream.lost_run_cancelled:
            return Finish(stream, Ending.DELIVERED)
        limit = self._config.agent_loop_limit
        # What is behind is catching up: that ends by itself, and what is held would be as far behind again.
        if limit and brief.agents_in_a_row >= limit and not stream.behind:
            await self._pause_loop(stream, brief)
            return Finish(stream, Ending.HOLD)
        return await self._call(stream, brief, new_from_seq, stop)

    async def _call(self, stream: ClaimedStream, brief: Brief, new_from_seq: int, stop: Stop) -> Finish:
        exchange = Exchange()
        run = self._relay.open(
            conversation_id=stream.conversation_id, run_id=stream.run_id, agent_id=stream.agent_id or ""
        )
        talk = _Talk(self._door, self._limits, exchange, run)
        try:
            with stop.listening():
                drafts = await talk.hold(stream, self._written(stream, brief, new_from_seq))
            seq = await self._answers.store(stream, _marked(drafts or (), stream.run_id))
        except Stopped:
            return await self._stopped(stream, talk, stop.reason)
        except CallError as error:
            return await self._failed(stream, exchange, run, error)
        except BaseException:
            run.failed("The call was given up.", retry=True)
            raise
        run.finished(seq)
        outcome = "accepted" if drafts is None else "answered"
        return Finish(stream, Ending.DELIVERED, attempt=exchange.record(stream, outcome))

    def _written(self, stream: ClaimedStream, brief: Brief, new_from_seq: int) -> Call:
        now = datetime.now(UTC)
        keys: Keys = open_keys(stream, now)
        return Call(
            call_id=stream.call_id,
            run_id=stream.run_id,
            agent_id=stream.agent_id or "",
            key=stream.key,
            is_dm=stream.is_dm,
            epoch=stream.epoch,
            messages=context.select(brief.messages, stream.cursor, tokens=stream.context_tokens),
            new_from_seq=new_from_seq,
            participants=brief.participants,
            reply_url=f"{self._config.base_url}/api/conversations/{stream.key}/messages",
            secrets=keys.secrets,
            now=now,
            url=stream.url,
            options=stream.options,
            api_key=keys.private.api_key,
            custom_headers=keys.private.headers,
        )

    async def _stopped(self, stream: ClaimedStream, talk: "_Talk", reason: str) -> Finish:
        """Someone ended the call: what was said is kept, marked, and the call is not made again.

        If news ended it before any answer came, nobody knows what the agent has got: the next call brings all of it.
        """
        if reason == "interrupted" and talk.exchange.status is None:
            talk.run.cancelled(None)
            return Finish(stream, Ending.HOLD, attempt=talk.exchange.record(stream, reason))
        said = talk.said()
        drafts = _marked((said,), stream.run_id, reason) if said is not None else ()
        seq = await self._answers.store(stream, drafts)
        talk.run.cancelled(seq)
        return Finish(stream, Ending.DELIVERED, attempt=talk.exchange.record(stream, reason))

    async def _failed(self, stream: ClaimedStream, exchange: Exchange, run: Run, error: CallError) -> Finish:
        attempt = exchange.record(stream, error.outcome, str(error))
        if error.status == GONE:
            await in_thread(
                endpoints.disable, stream.endpoint_id, "The agent answered 410 Gone.", url=stream.url
            )
        retry_in = next_retry(stream, error)
        run.failed(str(error), retry=retry_in is not None)
        if retry_in is not None:
            return Finish(stream, Ending.RETRY, retry_in, attempt)
        await self._answers.tell(
            stream,
            f"{stream.agent_id} does not answer. It was tried for a long time and is not called again for now.",
            {"event": "agent.exhausted", "agent_id": stream.agent_id},
            f"exhausted:{stream.call_id}",
        )
        return Finish(stream, Ending.PARK, attempt=attempt)

    async def _pause_loop(self, stream: ClaimedStream, brief: Brief) -> None:
        await self._answers.tell(
            stream,
            f"The agents have sent {brief.agents_in_a_row} messages in a row. They pause until a person writes.",
            {"event": "agents.paused", "reason": "loop", "messages": brief.agents_in_a_row},
            f"loop:{brief.person_spoke_at}",
        )


class _Talk:
    """The exchange with one agent: its request, its answer as it comes, what it has said so far."""

    def __init__(self, door: Door, limits: Limits, exchange: Exchange, run: Run) -> None:
        self.exchange = exchange
        self.run = run
        self._door = door
        self._limits = limits
        self._reader: Reader | None = None

    async def hold(self, stream: ClaimedStream, call: Call) -> tuple[rules.Draft, ...] | None:
        """Post, relay what streams in, and return the messages of the whole answer, or None if they come later."""
        dialect = DIALECTS[stream.dialect]
        request = dialect.write(call)
        span = _tracer.start_span("agent call", kind=trace.SpanKind.CLIENT)
        try:
            request.headers.update(trace_headers(span, stream.call_id, stream.run_id))
            self.exchange.sends(request, call.custom_headers)
            async with self._door.call(
                request.url, request.headers, request.body, patience=patience_for(stream)
            ) as answer:
                self.exchange.receives(answer.head)
                try:
                    self._reader = reader = dialect.reader(answer.head, self._limits, call)
                except CallError:
                    await self.exchange.note_refusal(answer)
                    raise
                if not reader.done:
                    await self._read(answer, reader)
                return reader.result()
        finally:
            span.end()

    async def _read(self, answer: Answer, reader: Reader) -> None:
        try:
            async for data in answer.chunks():
                self.exchange.note(data)
                self.run.add(reader.feed(data))
                if reader.done:
                    return
        except (AgentUnreachable, CallTimedOut):
            if not reader.complete:
                raise
        self.run.add(reader.end())

    def said(self) -> rules.Draft | None:
        """What the agent has said so far."""
        return self._reader.said() if self._reader is not None else None


def next_retry(stream: ClaimedStream, error: CallError) -> float | None:
    """Seconds until this call is made again, or None when it was tried for long enough."""
    config = settings.FLEETLM
    since = stream.first_failed_at
    return rules.next_retry(
        config.agent_retry_schedule,
        stream.attempt,
        random(),  # noqa: S311  # spreads retries, keeps no secret
        failing_seconds=(datetime.now(UTC) - since).total_seconds() if since else 0.0,
        give_up_after=config.agent_retry_for,
        retry_after=error.retry_after,
    )


def trace_headers(span: trace.Span, call_id: UUID, run_id: UUID) -> dict[str, str]:
    """W3C Trace Context: of this span, or, where nothing traces, one that all attempts of a call share."""
    if not span.get_span_context().is_valid:
        return {"traceparent": f"00-{call_id.hex}-{run_id.hex[:16]}-00"}
    headers: dict[str, str] = {}
    propagate.inject(headers, trace.set_span_in_context(span))
    return headers


def _marked(drafts: Sequence[rules.Draft], run_id: UUID, status: str | None = None) -> list[rules.Draft]:
    """A streamed answer says in its content which run it was, and how that ended."""
    return [
        replace(
            draft,
            content={**draft.content, "run_id": str(run_id), "status": status or draft.content["status"]},
        )
        if draft.content and "parts" in draft.content and "status" in draft.content
        else draft
        for draft in drafts
    ]
