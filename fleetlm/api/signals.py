"""`/api/conversations/{key}/read` and `/typing`: what participants tell of themselves beside messages."""

from typing import Any

from django.http import HttpRequest

from conversations import queries
from conversations.errors import InvalidRequest, NotAMember
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation


class SignalView(ApiView):
    """A resource that a participant writes to as a member of the conversation, itself or by a server."""

    async def find_as_member(self, key: str, participant_id: str) -> queries.View:
        """The conversation, of which this participant is a member. Raises `NotAMember`, `NotAllowed` and the like."""
        self.principal.require("write")
        view = await find_conversation(self.runtime, self.principal, key)
        if view.role is None:  # a server asks for somebody, or somebody reads a broadcast
            async with self.runtime.pool.connection() as connection:
                if not await queries.still_members(connection, view.id, [participant_id]):
                    raise NotAMember(participant_id=participant_id)
        return view


class Read(SignalView):
    """A participant's read cursor."""

    @operation("Move a read cursor", body=forms.ReadForm, answers={200: forms.ReadAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Move it forward; it never goes back and never passes the end of the log."""
        form = self.body(forms.ReadForm)
        participant_id = self.principal.speak_as(form.participant_id)
        view = await self.find_as_member(key, participant_id)
        seq = await self.runtime.gateway.read(view, participant_id, form.seq)
        answer: dict[str, Any] = {"participant_id": participant_id, "seq": seq}
        return Reply(answer)


class Typing(SignalView):
    """Who types, for those whose sockets are blocked."""

    @operation("Say that someone types", body=forms.TypingForm, answers={200: forms.TypingAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Shown to everyone who follows the conversation, until `on: false` or for 6 seconds; say it again to go on."""
        form = self.body(forms.TypingForm)
        participant_id = self.principal.speak_as(form.participant_id)
        view = await self.find_as_member(key, participant_id)
        if view.kind == "broadcast":
            raise InvalidRequest("Nobody types in a broadcast.", field="key")
        self.runtime.gateway.typing(view.id, participant_id, form.on)
        return Reply({})
