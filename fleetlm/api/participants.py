"""`/api/participants`: who can speak."""

from typing import Any

import msgspec
from django.conf import settings
from django.db import IntegrityError
from django.http import HttpRequest

from conversations import rules
from conversations.append import timestamp
from conversations.errors import Conflict, NotAllowed, ParticipantNotFound, TooLarge
from conversations.models import Conversation, Participant
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from runtime import members
from runtime.database import in_thread


def check_metadata(metadata: dict[str, Any] | None) -> None:
    """Raise `InvalidRequest` or `TooLarge` for metadata that cannot be kept."""
    if metadata:
        rules.check_json(metadata, "metadata", settings.FLEETLM.json_depth)
        if len(msgspec.json.encode(metadata)) > settings.FLEETLM.content_bytes:
            raise TooLarge(field="metadata", limit=settings.FLEETLM.content_bytes)


def as_answer(participant: Participant) -> dict[str, Any]:
    """A participant as clients see it."""
    return {
        "id": participant.id,
        "kind": participant.kind,
        "display_name": participant.display_name,
        "metadata": participant.metadata,
        "created_at": timestamp(participant.created_at),
    }


class Participants(ApiView):
    """All participants."""

    @operation("Register a participant", body=forms.ParticipantForm, answers={201: forms.ParticipantAnswer})
    async def post(self, request: HttpRequest) -> Reply:
        """Make a participant; 409 if there is one with this id."""
        self.principal.require_server("write")
        form = self.body(forms.ParticipantForm)
        check_metadata(form.metadata)
        return Reply(as_answer(await in_thread(_create, form)), 201)

    @operation("List participants", query=forms.ParticipantsQuery, answers={200: forms.ParticipantsAnswer})
    async def get(self, request: HttpRequest) -> Reply:
        """Participants by id, a page at a time."""
        self.principal.require_server("read")
        found = await in_thread(_list, query := self.query(forms.ParticipantsQuery))
        page = [as_answer(participant) for participant in found[: query.limit]]
        return Reply({"participants": page, "has_more": len(found) > query.limit})


class ParticipantDetail(ApiView):
    """One participant."""

    @operation("Get a participant", answers={200: forms.ParticipantAnswer})
    async def get(self, request: HttpRequest, participant_id: str) -> Reply:
        """The participant; a token may ask for its own only."""
        self.principal.require("read")
        if not self.principal.is_server and self.principal.participant_id != participant_id:
            raise NotAllowed("A participant token reads only its own participant.")
        return Reply(as_answer(await in_thread(_get, rules.check_id(participant_id))))

    @operation("Change a participant", body=forms.ParticipantChange, answers={200: forms.ParticipantAnswer})
    async def patch(self, request: HttpRequest, participant_id: str) -> Reply:
        """Change the display name or metadata."""
        self.principal.require_server("write")
        form = self.body(forms.ParticipantChange)
        check_metadata(form.metadata)
        return Reply(as_answer(await in_thread(_change, rules.check_id(participant_id), form)))

    @operation("Delete a participant", answers={204: None})
    async def delete(self, request: HttpRequest, participant_id: str) -> Reply:
        """Delete it with its memberships and cursors; what it said stays in the logs."""
        self.principal.require_server("admin")
        keys = await in_thread(members.delete_participant, rules.check_id(participant_id))
        for conversation in await in_thread(_conversations, keys):
            self.runtime.gateway.announce_change(conversation, [participant_id])
        return Reply(status=204)


def _create(form: forms.ParticipantForm) -> Participant:
    try:
        return Participant.objects.create(
            id=rules.check_id(form.id), kind=form.kind, display_name=form.display_name, metadata=form.metadata
        )
    except IntegrityError:
        raise Conflict("There is a participant with this id already.", participant_id=form.id) from None


def _get(participant_id: str) -> Participant:
    participant = Participant.objects.filter(id=participant_id).first()
    if participant is None:
        raise ParticipantNotFound(participant_id=participant_id)
    return participant


def _change(participant_id: str, form: forms.ParticipantChange) -> Participant:
    participant = _get(participant_id)
    if form.display_name is not None:
        participant.display_name = form.display_name
    if form.metadata is not None:
        participant.metadata = form.metadata
    participant.save(update_fields=["display_name", "metadata", "updated_at"])
    return participant


def _list(query: forms.ParticipantsQuery) -> list[Participant]:
    found = Participant.objects.order_by("id")
    if query.kind is not None:
        found = found.filter(kind=query.kind)
    if query.after is not None:
        found = found.filter(id__gt=query.after)
    return list(found[: query.limit + 1])


def _conversations(keys: list[str]) -> list[Conversation]:
    return list(Conversation.objects.filter(key__in=keys))
