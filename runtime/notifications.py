"""One call of a subscription, from the claimed stream to how it ended."""

from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from opentelemetry import trace

from agents import endpoints, events, signing
from agents.calls import ClaimedStream, Ending, Finish
from agents.dialects import Request
from agents.door import Door
from agents.errors import CallError, CallRefused
from agents.models import Endpoint
from runtime.briefs import Brief
from runtime.calling import Exchange, Stop, Stopped, open_keys, patience_for, private_headers
from runtime.database import in_thread
from runtime.delivery import GONE, next_retry, trace_headers

_tracer: Final = trace.get_tracer(__name__)


class Notifier:
    """Tells subscriptions what has happened: any 2xx says that it was heard."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._config = settings.FLEETLM

    async def deliver(self, stream: ClaimedStream, brief: Brief, stop: Stop) -> Finish:
        """Post the event if anything of it concerns the subscription. Returns how that ended."""
        now = datetime.now(UTC)
        body = _body(stream, brief, now)
        if body is None:
            return Finish(stream, Ending.DELIVERED)
        exchange = Exchange()
        try:
            with stop.listening():
                await self._post(stream, exchange, body, now)
        except Stopped:
            return Finish(stream, Ending.DELIVERED, attempt=exchange.record(stream, stop.reason))
        except CallError as error:
            attempt = exchange.record(stream, error.outcome, str(error))
            if error.status == GONE:
                await in_thread(
                    endpoints.disable, stream.endpoint_id, "The subscriber answered 410 Gone.", url=stream.url
                )
            retry_in = next_retry(stream, error)
            ending = Ending.PARK if retry_in is None else Ending.RETRY
            return Finish(stream, ending, retry_in, attempt)
        return Finish(stream, Ending.DELIVERED, attempt=exchange.record(stream, "accepted"))

    async def _post(self, stream: ClaimedStream, exchange: Exchange, body: bytes, now: datetime) -> None:
        keys = open_keys(stream, now)
        span = _tracer.start_span("event webhook", kind=trace.SpanKind.CLIENT)
        try:
            headers = {
                **private_headers(keys.private),
                **signing.json_headers(keys.secrets, str(stream.call_id), now, body),
                **trace_headers(span, stream.call_id, stream.run_id),
            }
            request = Request(stream.url, headers, body)
            exchange.sends(request, keys.private.headers)
            async with self._door.call(stream.url, headers, body, patience=patience_for(stream)) as answer:
                exchange.receives(answer.head)
                if not 200 <= answer.head.status < 300:
                    await exchange.note_refusal(answer)
                    raise CallRefused(
                        f"The subscriber answered with status {answer.head.status}.",
                        status=answer.head.status,
                        retry_after=answer.head.retry_after,
                    )
                exchange.note(await answer.read())
        finally:
            span.end()


def _body(stream: ClaimedStream, brief: Brief, now: datetime) -> bytes | None:
    if stream.event == Endpoint.Event.INBOX_UPDATED:
        return events.inbox_event(stream, brief.entries, now) if brief.entries else None
    wanted = [m for m in brief.messages if not stream.message_kinds or m.kind in stream.message_kinds]
    return events.log_event(stream, wanted) if wanted else None
