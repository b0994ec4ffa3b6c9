"""`/api/conversations`: create, list, describe, members and state."""

from typing import Any

from django.http import HttpRequest
from uuid_utils.compat import uuid7

from conversations import rules
from conversations.append import timestamp
from conversations.errors import ConversationNotFound, InvalidRequest
from conversations.models import Conversation
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.participants import check_metadata
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation, require_conversation_admin
from inbox import queries as inbox_queries
from runtime import members
from runtime.core import Runtime
from runtime.database import in_thread

LISTED_MEMBERS = 1_000


def _summary(conversation: Conversation) -> dict[str, Any]:
    return {
        "key": conversation.key,
        "dm_key": conversation.key if rules.is_dm(conversation.key) else None,
        "epoch": conversation.epoch,
        "kind": conversation.kind,
        "state": conversation.state,
        "title": conversation.title,
        "last_seq": conversation.last_seq,
        "handed_to": conversation.handed_to or None,
        "created_at": timestamp(conversation.created_at),
        "updated_at": timestamp(conversation.updated_at),
    }


async def _members(runtime: Runtime, conversation_id: int) -> list[dict[str, Any]]:
    async with runtime.pool.connection() as connection:
        return await inbox_queries.members(connection, conversation_id, LISTED_MEMBERS)


async def _answer(runtime: Runtime, conversation: Conversation, status: int = 200) -> Reply:
    detail = {"metadata": conversation.metadata, "participants": await _members(runtime, conversation.id)}
    return Reply(_summary(conversation) | detail, status)


async def answer_changed(runtime: Runtime, conversation: Conversation, *others: str) -> Reply:
    """Tell whoever follows of a change, and answer with the conversation."""
    present = await _members(runtime, conversation.id)
    runtime.gateway.announce_change(conversation, [one["id"] for one in present], gone=others)
    return Reply(_summary(conversation) | {"metadata": conversation.metadata, "participants": present})


def _roles(participants: list[str | forms.MemberForm]) -> dict[str, str]:
    pairs = ((one, "member") if isinstance(one, str) else (one.id, one.role) for one in participants)
    return {rules.check_id(one, "participants"): role for one, role in pairs}


class Conversations(ApiView):
    """All conversations."""

    @operation("Create a conversation", body=forms.ConversationForm, answers={201: forms.ConversationAnswer})
    async def post(self, request: HttpRequest) -> Reply:
        """Make a conversation with its members, who become participants (users) if they are not; 409 if the key is taken."""
        self.principal.require_server("write")
        form = self.body(forms.ConversationForm)
        check_metadata(form.metadata)
        roles = _roles(form.participants)
        key = _new_key(form, roles)
        conversation = await in_thread(
            members.create,
            key,
            form.kind,
            roles,
            title=form.title,
            metadata=form.metadata,
            make_participants=True,
        )
        self.runtime.gateway.announce_change(conversation, roles)
        return await _answer(self.runtime, conversation, 201)

    @operation("List conversations", query=forms.ConversationsQuery, answers={200: forms.ConversationsAnswer})
    async def get(self, request: HttpRequest) -> Reply:
        """Conversations, newest first; a participant's token lists those it takes part in."""
        self.principal.require("read")
        query = self.query(forms.ConversationsQuery)
        if not self.principal.is_server:
            query.participant_id = self.principal.speak_as(query.participant_id)
        found = await in_thread(_list, query, self.principal.conversations)
        page = [_summary(conversation) for conversation in found[: query.limit]]
        following = found[query.limit - 1].id if len(found) > query.limit else None
        return Reply({"conversations": page, "next": following})


class ConversationDetail(ApiView):
    """One conversation."""

    @operation("Get a conversation", answers={200: forms.ConversationAnswer})
    async def get(self, request: HttpRequest, key: str) -> Reply:
        """The conversation with its members."""
        view = await find_conversation(self.runtime, self.principal, key)
        return await _answer(self.runtime, await in_thread(_get, view.key))

    @operation(
        "Change a conversation", body=forms.ConversationChange, answers={200: forms.ConversationAnswer}
    )
    async def patch(self, request: HttpRequest, key: str) -> Reply:
        """Change the title or metadata."""
        form = self.body(forms.ConversationChange)
        check_metadata(form.metadata)
        view = await find_conversation(self.runtime, self.principal, key)
        require_conversation_admin(self.principal, view)
        changed = await in_thread(members.describe, view.key, title=form.title, metadata=form.metadata)
        return await answer_changed(self.runtime, changed)


class ConversationState(ApiView):
    """Close, archive or open a conversation again."""

    state = ""

    @operation("Change a conversation's state", answers={200: forms.ConversationAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """`close` takes no more messages; `archive` leaves the inbox as well; `reopen` undoes both."""
        view = await find_conversation(self.runtime, self.principal, key)
        require_conversation_admin(self.principal, view)
        return await answer_changed(self.runtime, await in_thread(members.set_state, view.key, self.state))


class Members(ApiView):
    """Who takes part in a conversation."""

    @operation("List members", answers={200: forms.MembersAnswer})
    async def get(self, request: HttpRequest, key: str) -> Reply:
        """The first 1,000 members, oldest first."""
        view = await find_conversation(self.runtime, self.principal, key)
        return Reply({"participants": await _members(self.runtime, view.id)})

    @operation("Add members", body=forms.MembersForm, answers={200: forms.ConversationAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Add members; what was said before they came is not unread for them."""
        form = self.body(forms.MembersForm)
        view = await find_conversation(self.runtime, self.principal, key)
        require_conversation_admin(self.principal, view)
        return await answer_changed(
            self.runtime, await in_thread(members.add, view.key, _roles(form.participants))
        )


class MemberDetail(ApiView):
    """One membership."""

    @operation("Change a membership", body=forms.MemberChange, answers={200: forms.ConversationAnswer})
    async def patch(self, request: HttpRequest, key: str, participant_id: str) -> Reply:
        """Change the role (admins), or whether it is muted (each for itself)."""
        form = self.body(forms.MemberChange)
        view = await find_conversation(self.runtime, self.principal, key)
        if form.role is not None or self.principal.participant_id != participant_id:
            require_conversation_admin(self.principal, view)
        changed = await in_thread(
            members.change, view.key, rules.check_id(participant_id), role=form.role, muted=form.muted
        )
        return await answer_changed(self.runtime, changed)

    @operation("Remove a member", answers={200: forms.ConversationAnswer})
    async def delete(self, request: HttpRequest, key: str, participant_id: str) -> Reply:
        """Remove a member, or leave: from then on it can read and write nothing here."""
        view = await find_conversation(self.runtime, self.principal, key)
        if self.principal.participant_id != participant_id:
            require_conversation_admin(self.principal, view)
        self.principal.require("write")
        changed = await in_thread(members.remove, view.key, rules.check_id(participant_id))
        return await answer_changed(self.runtime, changed, participant_id)


def _new_key(form: forms.ConversationForm, roles: dict[str, str]) -> str:
    if form.kind == "dm":
        if len(roles) != 2:
            raise InvalidRequest("A dm has exactly two participants.", field="participants")
        key = rules.dm_key(*roles)
        if form.key is not None and rules.canonical_key(form.key) != key:
            raise InvalidRequest("The key of a dm is its two participants, joined by a colon.", field="key")
        return key
    key = f"{form.kind}-{uuid7()}" if form.key is None else rules.canonical_key(form.key)
    if rules.is_dm(key):
        raise InvalidRequest("Only a dm's key holds a colon.", field="key")
    return key


def _get(key: str) -> Conversation:
    conversation = Conversation.objects.filter(key=key).first()
    if conversation is None:
        raise ConversationNotFound(key=key)
    return conversation


def _list(query: forms.ConversationsQuery, narrowed: Any) -> list[Conversation]:
    found = Conversation.objects.order_by("-id")
    if query.participant_id is not None:
        found = found.filter(memberships__participant_id=rules.check_id(query.participant_id))
    if narrowed is not None:
        found = found.filter(key__in=narrowed)
    if query.kind is not None:
        found = found.filter(kind=query.kind)
    if query.state is not None:
        found = found.filter(state=query.state)
    if query.cursor is not None:
        found = found.filter(id__lt=query.cursor)
    return list(found[: query.limit + 1])
