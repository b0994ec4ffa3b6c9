"""`…/streams` and `…/attempts` of `/api/agents/{id}` and `/api/subscriptions/{id}`: what is delivered, and every call."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.http import HttpRequest

from agents import operations, stream_queries
from agents.models import Attempt, DeliveryStream, Endpoint
from conversations.append import timestamp
from conversations.errors import Conflict
from conversations.rules import canonical_key
from fleetlm.api import stream_forms as forms
from fleetlm.api.base import Reply
from fleetlm.api.endpoints import EndpointView, moment
from fleetlm.api.schema import operation
from runtime.database import in_thread


def as_answer(stream: DeliveryStream) -> dict[str, Any]:
    """A stream as clients see it. Its endpoint and conversation have been read with it."""
    counts_changes = stream.endpoint.event == Endpoint.Event.INBOX_UPDATED
    last_seq = stream.wanted_seq if counts_changes else stream.conversation.last_seq
    return {
        "key": stream.conversation.key,
        "cursor": stream.cursor,
        "last_seq": last_seq,
        "lag": stream_queries.lag(stream),
        "state": stream_queries.state(stream),
        "trigger": stream.trigger or None,
        "due_at": moment(stream.due_at),
        "waiting_since": moment(stream.waiting_since),
        "attempts": stream.attempts,
        "last_error": stream.last_error,
        "parked_at": moment(stream.parked_at),
        "park_reason": stream.park_reason or None,
        "replay": _replay(stream),
        "handed_over": stream.handed_over,
        "run_id": None if stream.lease_id is None or stream.run_id is None else str(stream.run_id),
    }


def _replay(stream: DeliveryStream) -> dict[str, int] | None:
    if stream.replay_cursor is None or stream.replay_to is None:
        return None
    return {"from": stream.replay_cursor + 1, "to": stream.replay_to}


class Streams(EndpointView):
    """All streams of an endpoint."""

    @operation("List delivery streams", query=forms.StreamsQuery, answers={200: forms.StreamsAnswer})
    async def get(self, request: HttpRequest, **ids: str) -> Reply:
        """Streams of the endpoint, oldest first, a page at a time: all, or those in one state."""
        self.principal.require_server("read")
        query = self.query(forms.StreamsQuery)
        return Reply(await in_thread(self._page, ids, query))

    def _page(self, ids: Mapping[str, str], query: forms.StreamsQuery) -> dict[str, Any]:
        streams, following = stream_queries.page(
            self.find(ids), in_state=query.state, after=query.after, limit=query.limit
        )
        return {"streams": [as_answer(stream) for stream in streams], "next": following}


class StreamView(EndpointView):
    """What one stream's resources share."""

    def find_stream(self, ids: Mapping[str, str], key: str) -> DeliveryStream:
        """The endpoint's stream over this conversation. Raises `NotFound`. Synchronous."""
        return operations.find_stream(canonical_key(key), id=self.find(ids).id)

    async def act(
        self, ids: Mapping[str, str], key: str, change: Callable[[DeliveryStream], object]
    ) -> Reply:
        """Change the stream, wake the dispatchers, and answer with it as it is then."""

        def work() -> dict[str, Any]:
            change(self.find_stream(ids, key))
            return as_answer(self.find_stream(ids, key))

        answer = await in_thread(work)
        self.runtime.gateway.wake_dispatchers()
        return Reply(answer)


class StreamDetail(StreamView):
    """One stream."""

    @operation("Get a delivery stream", answers={200: forms.StreamAnswer})
    async def get(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """How far the endpoint has got in this conversation, and what the next call waits for."""
        self.principal.require_server("read")
        return Reply(as_answer(await in_thread(self.find_stream, ids, key)))


class AgentStreamDetail(StreamDetail):
    """One stream of an agent."""

    @operation("Change a delivery stream", body=forms.StreamChange, answers={200: forms.StreamAnswer})
    async def patch(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Say which messages the agent is called for in this conversation, from the next one on."""
        self.principal.require_server("admin")
        form = self.body(forms.StreamChange)
        return await self.act(ids, key, partial(operations.set_trigger, trigger=form.trigger or ""))


def _alone(stream: DeliveryStream) -> Any:
    return DeliveryStream.objects.filter(id=stream.id)


class Pause(StreamView):
    """A pause."""

    @operation("Pause a delivery stream", answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Make no more calls for this conversation until it is resumed; a call under way is given up."""
        self.principal.require_server("admin")
        return await self.act(ids, key, lambda stream: operations.park(_alone(stream)))


class ResumeStream(StreamView):
    """The end of a pause."""

    @operation("Resume a delivery stream", answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Call again, parked or paused: first the call that was given up, then what came in meanwhile."""
        self.principal.require_server("admin")
        return await self.act(ids, key, lambda stream: operations.resume(_alone(stream)))


class Retry(StreamView):
    """A retry."""

    @operation("Retry a delivery stream", answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Make the call that waits now, not when its wait is over. 409 if the stream is parked or paused."""
        self.principal.require_server("admin")
        return await self.act(ids, key, _retry)


def _retry(stream: DeliveryStream) -> None:
    if stream.parked_at is not None:
        raise Conflict("This stream is parked or paused; resume it.", state=stream_queries.state(stream))
    operations.retry_now(_alone(stream))


class Skip(StreamView):
    """Messages that are given up."""

    @operation("Skip messages", body=forms.SkipForm, answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Give up on the pending call's messages, or on all up to `seq`, and go on with what came after them."""
        self.principal.require_server("admin")
        form = self.body(forms.SkipForm)
        return await self.act(ids, key, partial(operations.skip, up_to=form.seq))


class Rewind(StreamView):
    """A new start."""

    @operation("Rewind a delivery stream", body=forms.RewindForm, answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Deliver everything from `from_seq` on again, as new calls."""
        self.principal.require_server("admin")
        form = self.body(forms.RewindForm)
        return await self.act(ids, key, partial(operations.rewind, from_seq=form.from_seq))


class Redeliver(StreamView):
    """A range that is delivered once more."""

    @operation("Deliver a range again", body=forms.RedeliverForm, answers={200: forms.StreamAnswer})
    async def post(self, request: HttpRequest, key: str, **ids: str) -> Reply:
        """Deliver a range once more, as new calls, then go on where the stream is."""
        self.principal.require_server("admin")
        form = self.body(forms.RedeliverForm)
        change = partial(operations.redeliver, from_seq=form.from_seq, to_seq=form.to_seq)
        return await self.act(ids, key, change)


class Attempts(EndpointView):
    """All calls of an endpoint."""

    @operation("List attempts", query=forms.AttemptsQuery, answers={200: forms.AttemptsAnswer})
    async def get(self, request: HttpRequest, **ids: str) -> Reply:
        """Calls of the endpoint, newest first, a page at a time, as long as they are kept."""
        self.principal.require_server("read")
        query = self.query(forms.AttemptsQuery)
        return Reply(await in_thread(self._page, ids, query))

    def _page(self, ids: Mapping[str, str], query: forms.AttemptsQuery) -> dict[str, Any]:
        attempts, following = stream_queries.attempts(
            self.find(ids),
            key=None if query.key is None else canonical_key(query.key),
            outcome=query.outcome,
            before=query.before,
            limit=query.limit,
        )
        return {"attempts": [_attempt(attempt) for attempt in attempts], "next": following}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "key": attempt.stream.conversation.key,
        "call_id": str(attempt.call_id),
        "run_id": str(attempt.run_id),
        "number": attempt.number,
        "from_seq": attempt.from_seq,
        "to_seq": attempt.to_seq,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "duration_ms": attempt.duration_ms,
        "error": attempt.error,
        "request": attempt.request,
        "response": attempt.response,
        "created_at": timestamp(attempt.created_at),
    }
