"""The log of messages in the admin: read-only, and quick with ten million of them.

Ids are UUIDv7, so the primary key is also the order of time: newest first and "since" cost a range of one
index.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone

from conversations import rules
from conversations.models import Message
from conversations.readonly_admin import ReadOnlyAdmin, find_conversation

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]

SEARCHED: Final = 10_000
PERIODS: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}


class SentFilter(admin.SimpleListFilter):
    """Messages of the last hour, day, week or month."""

    title = "sent within the last"
    parameter_name = "sent"

    def lookups(self, request: HttpRequest, model_admin: "_ModelAdmin") -> list[tuple[str, str]]:
        """The periods."""
        return [(name, name) for name in PERIODS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        """The messages whose id was made since."""
        period = PERIODS.get(self.value() or "")
        return queryset if period is None else queryset.filter(id__gte=first_id_of(timezone.now() - period))


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    """Newest first. A search looks through the newest 10,000 of what is filtered, never through all."""

    list_display = ("created_at", "conversation", "seq", "sender_id", "kind", "beginning")
    list_display_links = ("created_at", "beginning")
    list_filter = (SentFilter,)
    list_select_related = ("conversation",)
    search_fields = ("text",)
    search_help_text = (
        "A conversation's key or a message's id, whole; or a sender's id, or a piece of text, among the "
        f"newest {SEARCHED:,} messages of what is filtered."
    )

    @admin.display(description="text")
    def beginning(self, message: Message) -> str:
        """The beginning of the text."""
        return rules.preview(message.text)

    def get_ordering(self, request: HttpRequest) -> tuple[str | Combinable, ...]:
        """By seq inside one conversation, where the index of seqs is; by id, which is by time, elsewhere."""
        return ("-seq",) if any(name.startswith("conversation") for name in request.GET) else ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """See `search_help_text`."""
        if not search_term:
            return queryset, False
        conversation = find_conversation(search_term)
        if conversation is not None:
            return queryset.filter(conversation=conversation).order_by("-seq"), False
        if (message_id := _as_uuid(search_term)) is not None:
            return queryset.filter(id=message_id), False
        newest = queryset.order_by(*self.get_ordering(request)).values("id")[:SEARCHED]
        return queryset.filter(
            Q(sender_id=search_term) | Q(text__icontains=search_term), id__in=newest
        ), False


def first_id_of(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment's millisecond (RFC 9562: the first 48 bits are Unix milliseconds)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
