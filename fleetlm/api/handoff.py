"""`/api/conversations/{key}/handoff`: a person takes over from the agents, and gives the conversation back."""

import contextlib
from typing import Any

from django.http import HttpRequest

from conversations import queries, rules
from conversations.append import AppendRequest
from conversations.errors import ConversationClosed
from conversations.models import Conversation, Participant
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.conversations import answer_changed
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation, require_conversation_admin
from runtime import members
from runtime.answers import SYSTEM
from runtime.database import in_thread


class Handoff(ApiView):
    """Who has the conversation: its agents, or a person."""

    @operation("Hand a conversation over", body=forms.HandoffForm, answers={200: forms.ConversationAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Let a member that is a person take over: no agent is called until it is given back with `participant_id: null`.
        Then they get all that they missed."""
        form = self.body(forms.HandoffForm)
        view = await find_conversation(self.runtime, self.principal, key)
        if not await self._is_its_person(view):
            require_conversation_admin(self.principal, view)
        to = None if form.participant_id is None else rules.check_id(form.participant_id, "participant_id")
        conversation, has_changed = await in_thread(members.hand_over, view.key, to)
        if has_changed:
            await self._tell(conversation, to)
        return await answer_changed(self.runtime, conversation)

    async def _is_its_person(self, view: queries.View) -> bool:
        """Whether this is the token of a dm's person."""
        principal = self.principal
        if principal.is_server or view.kind != Conversation.Kind.DM or view.role is None:
            return False
        principal.require("write")
        return await in_thread(_is_person, principal.participant_id or "")

    async def _tell(self, conversation: Conversation, to: str | None) -> None:
        """Leave a system message. A closed conversation takes none."""
        event: dict[str, Any] = (
            {"event": "conversation.returned"}
            if to is None
            else {"event": "conversation.handed_over", "to": to}
        )
        message = AppendRequest(
            key=conversation.key,
            sender_id=SYSTEM,
            kind="system",
            text="The agents have the conversation again." if to is None else f"{to} has taken over.",
            content=event,
            privileged=True,
        )
        with contextlib.suppress(ConversationClosed):
            await self.runtime.gateway.append(message)


def _is_person(participant_id: str) -> bool:
    return Participant.objects.filter(id=participant_id, kind=Participant.Kind.USER).exists()
