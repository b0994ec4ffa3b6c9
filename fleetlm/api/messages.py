"""`/api/conversations/{key}/messages` and `/events`: the log, read, written and followed."""

import asyncio
import contextlib
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from conversations import queries, rules
from conversations.append import message_as_dict
from conversations.errors import ConversationNotFound, InvalidRequest, NotAMember
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.event_stream import EventAddress, EventStream
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation
from fleetlm.auth.authenticate import authenticate, bearer
from fleetlm.auth.principal import Principal
from fleetlm.joining import first_members, opening
from fleetlm.sending import SendBody, append_request
from runtime.pages import encode
from runtime.session import Session


class Messages(ApiView):
    """The log of a conversation."""

    @operation(
        "Append a message",
        body=SendBody,
        answers={201: forms.AppendedAnswer, 200: forms.AppendedAnswer},
    )
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Append; answered after the commit. The header `Idempotency-Key` stands for `client_id`."""
        key = rules.canonical_key(key)
        body = self.body(SendBody)
        idempotency_key = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if body.client_id is None and idempotency_key:
            body.client_id = idempotency_key.strip('"')
        self.principal.require_key(key)
        append = append_request(body, self.principal, key)
        try:
            appended = await self.runtime.gateway.append(append, create=self.principal.may_create)
        except ConversationNotFound:
            if self.principal.is_server:
                raise
            raise NotAMember(participant_id=append.sender_id, key=key) from None
        answer = message_as_dict(appended.message) | {"deduplicated": appended.deduplicated}
        return Reply(answer, 200 if appended.deduplicated else 201)

    @operation("Read the log", query=forms.HistoryQuery, answers={200: forms.HistoryAnswer})
    async def get(self, request: HttpRequest, key: str) -> Reply:
        """A page of the log, oldest first; `wait` holds an empty `after` page back until something comes."""
        query = self.query(forms.HistoryQuery)
        if query.after is not None and query.before is not None:
            raise InvalidRequest("Give after or before, not both.", field="after")
        view = await find_conversation(self.runtime, self.principal, key)
        last_seq = view.last_seq
        if query.after is not None and query.wait and query.after >= last_seq:
            last_seq = await self._wait_beyond(view, query.after, query.wait)
        async with self.runtime.pool.connection() as connection:
            if query.after is not None:
                page = await queries.page_after(connection, view.id, query.after, last_seq, query.limit)
                has_more = bool(page) and page[-1].seq < last_seq
            else:
                before = last_seq + 1 if query.before is None else query.before
                page = await queries.page_before(connection, view.id, before, query.limit)
                has_more = bool(page) and page[0].seq > 1
        return Reply(_page([encode(message) for message in page], view.epoch, last_seq, has_more))

    async def _wait_beyond(self, view: queries.View, after: int, seconds: float) -> int:
        """Wait for a message after `after`, for so many seconds at most; returns the newest seq."""
        session = self.runtime.sessions.open(view)
        arrival = _Arrival(self.principal.participant_id)
        session.add(arrival, view.version)
        draining = asyncio.create_task(self.runtime.draining.wait())
        try:
            await session.follow(arrival, session.last_seq)
            if session.last_seq <= after:
                either: set[asyncio.Future[Any]] = {arrival.future, draining}
                await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
            session.remove(arrival)
        if arrival.future.done():
            arrival.future.result()
        return max(session.last_seq, view.last_seq)


class _Arrival:
    """A subscriber that waits for one message."""

    def __init__(self, participant_id: str | None) -> None:
        self.participant_id = participant_id
        self.behind = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> "_Arrival":
        """Its own: not kept, or it would hold itself."""
        return self

    def frame(self, event: str, payload: bytes, seq: int | None) -> bool:
        """Only messages of the log count."""
        return seq is not None

    def write(self, frame: bool) -> None:
        """Something has come."""
        if frame and not self.future.done():
            self.future.set_result(None)

    async def drained(self) -> None:
        """There is always room."""

    def end(self, reason: str) -> None:
        """The participant may not read this any more."""
        if not self.future.done():
            self.future.set_exception(NotAMember())


def _page(messages: list[bytes], epoch: UUID, last_seq: int, has_more: bool) -> bytes:
    rest = orjson.dumps({"epoch": epoch, "last_seq": last_seq, "has_more": has_more})
    return b'{"messages":[' + b",".join(messages) + b"]," + rest[1:]


class EventsView(ApiView):
    """A resource that streams; browsers may pass their token as a query parameter."""

    async def _authenticate(self, request: HttpRequest) -> Principal:
        credential = bearer(request.META.get("HTTP_AUTHORIZATION")) or request.GET.get("token")
        return await authenticate(self.runtime, credential)


class Events(EventsView):
    """The live conversation as Server-Sent Events."""

    @operation(
        "Follow a conversation",
        query=forms.EventsQuery,
        answers={200: None},
        media_type="text/event-stream",
    )
    async def get(self, request: HttpRequest, key: str) -> HttpResponseBase:
        """First `ready`, which is what a socket's join replies but without messages, and with `presence`; then every message
        after the given place, then live."""
        query = self.query(forms.EventsQuery)
        view = await find_conversation(self.runtime, self.principal, key)
        epoch, after = _place(request.META.get("HTTP_LAST_EVENT_ID"), query.after)
        session = self.runtime.sessions.open(view)
        stream = EventStream(self.principal, EventAddress(view.epoch), self.runtime.draining)
        session.add(stream, view.version)
        try:
            await session.runs.ready()
            start, recovered = await session.starting_point(after, epoch)
            members = await first_members(self.runtime, view)
        except BaseException:
            session.remove(stream)
            raise
        if not recovered:
            start = session.last_seq  # live from this moment, not from that before the members were read
        told = opening(view, last_seq=session.last_seq, recovered=recovered, members=members)
        ready = orjson.dumps(told | {"presence": session.presence.state()})
        ready = ready[:-1] + b',"runs":' + session.runs.follow(stream) + b"}"
        stream.write(stream.address.frame("ready", ready, None))
        replay: asyncio.Task[None] | None = None
        if start == session.last_seq:
            session.go_live(stream)
        else:
            replay = asyncio.create_task(_follow(session, stream, start))
        return stream.response(closed=lambda: _leave(session, stream, replay))


async def _follow(session: Session, stream: EventStream, start: int) -> None:
    await session.follow(stream, start)
    # Whoever has come or gone since `ready` was not told: changes go to those who are live.
    stream.send("presence_state", session.presence.state())


def _leave(session: Session, stream: EventStream, replay: asyncio.Task[None] | None) -> None:
    if replay is not None:
        replay.cancel()
    session.remove(stream)


def _place(last_event_id: str | None, after: int | None) -> tuple[str | None, int | None]:
    if last_event_id:
        epoch, _, seq = last_event_id.rpartition(":")
        with contextlib.suppress(ValueError):
            return epoch, int(seq)
    return None, after
