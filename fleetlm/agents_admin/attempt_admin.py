"""Attempts in the admin: every call, and what went out and came back, to be read."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from agents.models import Attempt, DeliveryStream, Endpoint
from conversations.readonly_admin import ReadOnlyAdmin, find_conversation
from fleetlm.agents_admin import shown
from fleetlm.agents_admin.attempts_shown import exchanged, newest_id, tone_of
from fleetlm.agents_admin.stream_admin import endpoint_address, named, shown_name, stream_title
from fleetlm.agents_admin.wide_list import WideListAdmin

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]

SEARCHED: Final = 100_000


class OutcomeFilter(admin.SimpleListFilter):
    """By outcome. Nothing finds a rare one among hundreds of millions, so only the newest are looked through."""

    title = f"outcome (newest {SEARCHED:,})"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: "_ModelAdmin") -> list[tuple[str, str]]:
        """The outcomes."""
        return [("failures", "all failures"), *Attempt.Outcome.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        """Those of the chosen outcome."""
        chosen = self.value()
        if chosen == "failures":
            return _newest(queryset).exclude(outcome__in=("answered", "accepted", "cancelled", "interrupted"))
        return _newest(queryset).filter(outcome=chosen) if chosen in Attempt.Outcome.values else queryset


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin, WideListAdmin):
    """Every call, newest first."""

    list_display = (
        *("when", "endpoint", "conversation", "result_and_error", "status", "took", "number", "messages"),
    )
    list_filter = (OutcomeFilter,)
    search_fields = ("stream",)
    search_help_text = (
        "A conversation's key, whole; or an agent's or a subscription's id, "
        f"whole, among the newest {SEARCHED:,} attempts."
    )
    ordering = ("-id",)
    change_form_template = "admin/agents/attempt.html"
    fieldsets = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        """Not joined: an attempt may outlive its stream, and is shown then too."""
        attempts: QuerySet[Attempt] = super().get_queryset(request)
        return attempts.prefetch_related("stream__conversation", "stream__endpoint")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """See `search_help_text`."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (conversation := find_conversation(term)) is not None:
            streams = DeliveryStream.objects.filter(conversation=conversation).values_list("id", flat=True)
            return queryset.filter(stream_id__in=list(streams)), False
        endpoints = list(Endpoint.objects.filter(named(term)).values_list("id", flat=True))
        return _newest(queryset).filter(stream__endpoint_id__in=endpoints), False

    @admin.display(description="when")
    def when(self, attempt: Attempt) -> str:
        """How long ago."""
        return shown.age(attempt.created_at)

    @admin.display(description="endpoint")
    def endpoint(self, attempt: Attempt) -> str:
        """Who was called."""
        stream = stream_of(attempt)
        return shown.NOTHING if stream is None else shown.shortened(shown_name(stream.endpoint), 32)

    @admin.display(description="conversation")
    def conversation(self, attempt: Attempt) -> str:
        """For which conversation."""
        stream = stream_of(attempt)
        return shown.NOTHING if stream is None else shown.shortened(stream.conversation.key, 48)

    @admin.display(description="outcome")
    def result(self, attempt: Attempt) -> str:
        """In a coloured word."""
        return shown.word(attempt.get_outcome_display(), tone_of(attempt))

    @admin.display(description="took")
    def took(self, attempt: Attempt) -> str:
        """In milliseconds."""
        return format_html('<span class="fleetlm-age">{} ms</span>', f"{attempt.duration_ms:,}")

    @admin.display(description="attempt")
    def number(self, attempt: Attempt) -> int:
        """Of its call."""
        return attempt.number

    @admin.display(description="messages")
    def messages(self, attempt: Attempt) -> str:
        """What was to be delivered."""
        return (
            f"{attempt.from_seq}–{attempt.to_seq}"
            if attempt.to_seq > attempt.from_seq
            else str(attempt.to_seq)
        )

    @admin.display(description="outcome, error")
    def result_and_error(self, attempt: Attempt) -> str:
        """And why it failed."""
        if not attempt.error:
            return self.result(attempt)
        error = format_html('<span class="fleetlm-error">{}</span>', shown.shortened(attempt.error, 80))
        return shown.two_lines(self.result(attempt), error)

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """What went out and what came back."""
        if obj is not None:
            stream = stream_of(obj)
            context |= {
                "attempt": obj,
                "subtitle": _title_of(obj),
                "stream": stream,
                "endpoint_address": stream and endpoint_address(stream.endpoint),
                "result": self.result(obj),
                "took": self.took(obj),
                "messages_shown": self.messages(obj),
                "when": self.when(obj),
                "request_shown": exchanged(obj.request),
                "response_shown": exchanged(obj.response),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)


def stream_of(attempt: Attempt) -> DeliveryStream | None:
    """The stream that the call was made for, or None if it is gone."""
    try:
        return attempt.stream
    except DeliveryStream.DoesNotExist:
        return None


def _title_of(attempt: Attempt) -> str:
    stream = stream_of(attempt)
    said = f"attempt {attempt.number}, {attempt.get_outcome_display().lower()}"
    return said if stream is None else f"{stream_title(stream)}: {said}"


def _newest(attempts: QuerySet[Attempt]) -> QuerySet[Attempt]:
    return attempts.filter(id__gt=newest_id() - SEARCHED)
