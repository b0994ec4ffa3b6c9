"""Admin pages of tables that are only looked at, and that may hold many millions of rows."""

from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from conversations import rules
from conversations.errors import InvalidRequest
from conversations.models import Conversation

if TYPE_CHECKING:  # Django's own classes take no type arguments at run time
    AdminBase = admin.ModelAdmin[Any]
    InlineBase = admin.TabularInline[Any, Any]
    PaginatorBase = Paginator[Any]
else:
    AdminBase = admin.ModelAdmin
    InlineBase = admin.TabularInline
    PaginatorBase = Paginator

COUNT_MAX: Final = 10_000


class CappedPaginator(PaginatorBase):
    """Counts to 10,000 and no further: the pages beyond that are reached by searching, not by turning."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, or 10,000."""
        rows = cast("QuerySet[Any]", self.object_list)
        return rows[:COUNT_MAX].count()


class LargeTableAdmin(AdminBase):
    """For tables of any size: no page counts or sorts a whole table."""

    paginator = CappedPaginator
    show_full_result_count = False
    sortable_by = ()
    list_per_page = 50


class ReadOnlyAdmin(LargeTableAdmin):
    """What the server itself writes: shown, never added to, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False


class ParticipationAdmin(ReadOnlyAdmin):
    """What is kept per participant and conversation: found by either of them."""

    owner = "participant_id"
    """Where a row names its participant."""

    list_select_related = ("conversation",)
    ordering = ("-id",)
    search_fields = ("participant",)
    search_help_text = "A participant's id or a conversation's key, whole."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of this participant or conversation. Both are looked up in an index."""
        if not search_term:
            return queryset, False
        conversation = find_conversation(search_term)
        if conversation is not None:
            return queryset.filter(conversation=conversation), False
        return queryset.filter(**{self.owner: search_term}), False


def find_conversation(key: str) -> Conversation | None:
    """The conversation with this key, a dm's in either order, or None."""
    try:
        return Conversation.objects.filter(key=rules.canonical_key(key.strip())).first()
    except InvalidRequest:
        return None
