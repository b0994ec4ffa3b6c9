"""Participants, conversations and memberships in the admin; messages have a file of their own."""

from typing import Any, Final

from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import TypedChoiceField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from conversations import message_admin, store
from conversations.models import Conversation, Membership, Participant
from conversations.readonly_admin import (
    InlineBase,
    LargeTableAdmin,
    ParticipationAdmin,
    find_conversation,
)

__all__ = ["ConversationAdmin", "MembershipAdmin", "ParticipantAdmin", "message_admin"]

MEMBERS_SHOWN: Final = 100


@admin.register(Participant)
class ParticipantAdmin(LargeTableAdmin):
    """People and system senders can be added here; agents are registered with their endpoint."""

    list_display = ("id", "kind", "display_name", "created_at")
    list_filter = ("kind",)
    search_fields = ("id",)
    search_help_text = "The beginning of an id."
    fields = ("id", "kind", "display_name", "metadata", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Participant | None = None) -> tuple[str, ...]:
        """Messages carry the id, so it stays; and what someone is, is settled when it is registered."""
        return ("created_at", "updated_at") if obj is None else ("id", "kind", "created_at", "updated_at")

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> TypedChoiceField | None:
        """Every kind but `agent`, which needs an endpoint."""
        kwargs["choices"] = [choice for choice in Participant.Kind.choices if choice[0] != "agent"]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Participant], search_term: str
    ) -> tuple[QuerySet[Participant], bool]:
        """Ids that begin so: a range of the index of patterns."""
        return queryset.filter(id__startswith=search_term), False

    def has_delete_permission(self, request: HttpRequest, obj: Participant | None = None) -> bool:
        """Their memberships end through the API, which tells everyone concerned."""
        return False

    def save_model(self, request: HttpRequest, obj: Participant, form: Any, change: bool) -> None:
        """Write what can be edited here, and nothing that the server may have changed meanwhile."""
        obj.save(
            **(
                {"update_fields": ["display_name", "metadata", "updated_at"]}
                if change
                else {"force_insert": True}
            )
        )


class MemberInline(InlineBase):
    """The first hundred members of a conversation."""

    model = Membership
    fields = ("participant", "role", "joined_seq", "muted", "created_at")
    readonly_fields = fields
    verbose_name_plural = (
        f"The first {MEMBERS_SHOWN} members (changed through the API, which tells everyone concerned)"
    )
    can_delete = False
    extra = 0
    max_num = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Capped: a conversation may have 10,000 members."""
        match = request.resolver_match
        conversation_id = str(match.kwargs.get("object_id", "")) if match else ""
        first = (
            Membership.objects.filter(conversation_id=conversation_id)
            .order_by("id")
            .values("id")[:MEMBERS_SHOWN]
        )
        members: QuerySet[Membership] = super().get_queryset(request).filter(id__in=first).order_by("id")
        return members

    def has_add_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Never."""
        return False


@admin.register(Conversation)
class ConversationAdmin(LargeTableAdmin):
    """Title and metadata can be edited; state, members and messages change through the API only."""

    list_display = ("key", "kind", "state", "title", "last_seq", "created_at")
    list_filter = ("kind", "state")
    ordering = ("-id",)
    search_fields = ("key",)
    search_help_text = "The beginning of a key, or a participant's id."
    inlines = (MemberInline,)
    fieldsets = (
        (None, {"fields": ("key", "kind", "title", "metadata")}),
        (
            "Changed through the API only, which tells everyone concerned",
            {
                "fields": (
                    "state",
                    "last_seq",
                    "messages_link",
                    "members_link",
                    "epoch",
                    "created_at",
                    "updated_at",
                )
            },
        ),
    )
    readonly_fields = (
        *("key", "kind", "state", "last_seq", "messages_link", "members_link"),
        *("epoch", "created_at", "updated_at"),
    )

    @admin.display(description="messages")
    def messages_link(self, conversation: Conversation) -> str:
        """A link to the conversation's log."""
        return _link_to("message", conversation)

    @admin.display(description="members")
    def members_link(self, conversation: Conversation) -> str:
        """A link to all of its members."""
        return _link_to("membership", conversation)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        """Keys that begin so, and the conversations of a participant of that name: both by an index."""
        if not search_term:
            return queryset, False
        if (found := find_conversation(search_term)) is not None:
            return queryset.filter(id=found.id), False
        of_participant = Membership.objects.filter(participant_id=search_term).values("conversation_id")
        return queryset.filter(Q(key__startswith=search_term) | Q(id__in=of_participant)), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Conversations are created through the API, with their members."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Conversations are archived, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: Conversation, form: Any, change: bool) -> None:
        """Write title and metadata alone, under the conversation's lock: appends go on meanwhile."""
        with transaction.atomic():
            store.describe(store.lock_conversation(obj.key), title=obj.title, metadata=obj.metadata)


@admin.register(Membership)
class MembershipAdmin(ParticipationAdmin):
    """Who takes part where."""

    list_display = ("conversation", "participant", "role", "joined_seq", "muted", "created_at")
    list_filter = ("role", "muted")


def _link_to(table: str, conversation: Conversation) -> str:
    address = reverse(f"admin:conversations_{table}_changelist")
    return format_html('<a href="{}?conversation__id__exact={}">show</a>', address, conversation.pk)
