"""`conversation:<key>`: join with resume, live messages, send, read, typing, history, presence."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
import orjson
from django.conf import settings
from msgspec import Meta

from conversations import queries
from conversations.append import Appended, timestamp
from conversations.errors import FleetLMError, InvalidRequest, NotAMember, Overloaded
from fleetlm.auth.access import find_conversation
from fleetlm.cancelling import cancel_run
from fleetlm.errors import as_error
from fleetlm.joining import first_members, opening
from fleetlm.sending import MAX_SEQ, SendBody, Seq, append_request
from fleetlm.sockets.channel import Channel, UnknownEvent
from fleetlm.sockets.phoenix import Frame
from runtime.pages import encode, first_bytes, last_bytes
from runtime.session import Session

PREFIX = "conversation:"

Limit = Annotated[int, Meta(ge=1, le=200)]


class JoinForm(msgspec.Struct):
    """Where a join starts: after (epoch, seq), or with the newest messages. Unknown fields are other clients' business."""

    after: Seq | None = None
    epoch: str | None = None
    limit: Limit = 50


class ReadForm(msgspec.Struct, forbid_unknown_fields=True):
    """`read`."""

    seq: Seq
    participant_id: str | None = None


class TypingForm(msgspec.Struct, forbid_unknown_fields=True):
    """`typing`."""

    on: bool
    participant_id: str | None = None


class HistoryForm(msgspec.Struct, forbid_unknown_fields=True):
    """`history`."""

    before: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    limit: Limit = 50


class CancelForm(msgspec.Struct, forbid_unknown_fields=True):
    """`cancel`."""

    run_id: str


class ConversationChannel(Channel):
    """A join of one conversation."""

    kind = "conversation"
    view: queries.View
    session: Session

    async def join(self, frame: Frame) -> None:
        """Reply with the conversation and the first page; everything after it follows as pushes, then live."""
        form = msgspec.convert(frame.payload, JoinForm)
        runtime = self.socket.runtime
        self.view = await find_conversation(
            runtime, self.socket.principal, frame.topic.removeprefix(PREFIX), create=True
        )
        self.session = runtime.sessions.open(self.view)
        self.session.add(self, self.view.version)
        try:
            await self.session.runs.ready()
            start, recovered = await self.session.starting_point(form.after, form.epoch)
            if recovered:
                page = first_bytes(await self.session.read_after(start, self.session.last_seq, form.limit))
                position = page[-1][0] if page else start
            else:
                position, newest = await self.session.newest(form.limit)
                page = last_bytes(newest)
            members = await first_members(runtime, self.view)
        except BaseException:
            self.session.remove(self)
            raise
        if self not in self.session.subscribers:
            raise NotAMember(key=self.view.key)  # removed while it joined
        self.reply(frame, "ok", self._joined(page, recovered, members))
        self._appear()
        self._replay: asyncio.Task[None] | None = None
        if position == self.session.last_seq:
            self.session.go_live(self)
        else:
            self._replay = asyncio.create_task(self._follow(position), name="replay")

    async def _follow(self, position: int) -> None:
        await self.session.follow(self, position)
        # Whoever has come or gone since the join was not told: changes go to those who are live.
        self.push("presence_state", self.session.presence.state())

    def _joined(self, page: list[tuple[int, bytes]], recovered: bool, members: list[dict[str, Any]]) -> bytes:
        rest = opening(self.view, last_seq=self.session.last_seq, recovered=recovered, members=members)
        messages = b",".join(payload for _, payload in page)
        # From here on it is told of runs: nothing may come between this and the reply.
        runs = self.session.runs.follow(self)
        return b'{"messages":[' + messages + b'],"runs":' + runs + b"," + orjson.dumps(rest)[1:]

    def _appear(self) -> None:
        presence = self.session.presence
        self.push("presence_state", presence.state())
        if self.participant_id is not None:
            self._presence_ref = f"{self.socket.id}.{self.socket.next_number()}"
            presence.join(self._presence_ref, self.participant_id, datetime.now(UTC))

    def leave(self) -> None:
        """Leave the session; the others see it go."""
        if self._replay is not None:
            self._replay.cancel()
        self.session.remove(self)
        if self.participant_id is not None:
            self.session.presence.leave(self._presence_ref)

    def end(self, reason: str) -> None:
        """The participant may not read this any more, or there is nothing to read; also in the middle of a join."""
        self.session.remove(self)
        super().end(reason)

    async def handle(self, frame: Frame) -> None:
        """Serve one event of the client."""
        match frame.event:
            case "send":
                self._send(frame)
            case "read":
                await self._read(frame)
            case "typing":
                self._typing(frame)
            case "history":
                await self._history(frame)
            case "cancel":
                await self._cancel(frame)
            case _:
                raise UnknownEvent(event=frame.event[:64])

    def _send(self, frame: Frame) -> None:
        """Queue an append; the reply follows its commit. The socket goes on reading meanwhile."""
        body = msgspec.convert(frame.payload, SendBody)
        request = append_request(body, self.socket.principal, self.view.key)
        if self.socket.sends_in_flight >= settings.FLEETLM.sends_in_flight_per_socket:
            raise Overloaded("Too many sends of this socket wait; send on as replies arrive.", retry_after=1)
        future = self.socket.runtime.gateway.appender.submit(request)
        self.socket.sends_in_flight += 1
        future.add_done_callback(partial(self._appended, frame))

    def _appended(self, frame: Frame, future: asyncio.Future[Appended]) -> None:
        self.socket.sends_in_flight -= 1
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            failure: FleetLMError = as_error(error) if isinstance(error, Exception) else FleetLMError()
            self.reply(frame, "error", failure.as_dict())
            return
        appended = future.result()
        message = appended.message
        answer = {
            "id": message.id,
            "seq": message.seq,
            "created_at": timestamp(message.created_at),
            "deduplicated": appended.deduplicated,
        }
        self.reply(frame, "ok", answer)

    async def _read(self, frame: Frame) -> None:
        form = msgspec.convert(frame.payload, ReadForm)
        self.socket.principal.require("write")
        participant_id = self.socket.principal.speak_as(form.participant_id)
        await self._require_member(participant_id)
        seq = await self.socket.runtime.gateway.read(self.view, participant_id, form.seq)
        self.reply(frame, "ok", {"participant_id": participant_id, "seq": seq})

    async def _require_member(self, participant_id: str) -> None:
        """Whoever joined as itself was a member then and is dropped when it is none; a broadcast's reader never was one."""
        if participant_id == self.participant_id and self.view.role is not None:
            return
        async with self.socket.runtime.pool.connection() as connection:
            if not await queries.still_members(connection, self.view.id, [participant_id]):
                raise NotAMember(participant_id=participant_id)

    def _typing(self, frame: Frame) -> None:
        form = msgspec.convert(frame.payload, TypingForm)
        self.socket.principal.require("write")
        participant_id = self.socket.principal.speak_as(form.participant_id)
        if self.view.kind == "broadcast":
            raise InvalidRequest("Nobody types in a broadcast.", field="topic")
        self.socket.runtime.gateway.typing(self.view.id, participant_id, form.on)
        self.reply(frame, "ok", {})

    async def _cancel(self, frame: Frame) -> None:
        form = msgspec.convert(frame.payload, CancelForm)
        self.socket.principal.require("write")
        if self.participant_id is not None:
            await self._require_member(self.participant_id)
        await cancel_run(self.socket.runtime, self.view.id, form.run_id)
        self.reply(frame, "ok", {"run_id": form.run_id})

    async def _history(self, frame: Frame) -> None:
        form = msgspec.convert(frame.payload, HistoryForm)
        async with self.socket.runtime.pool.connection() as connection:
            found = await queries.page_before(connection, self.view.id, form.before, form.limit)
        page = last_bytes([(message.seq, encode(message)) for message in found])
        rest = {"has_more": bool(page) and page[0][0] > 1}
        messages = b",".join(payload for _, payload in page)
        self.reply(frame, "ok", b'{"messages":[' + messages + b"]," + orjson.dumps(rest)[1:])
