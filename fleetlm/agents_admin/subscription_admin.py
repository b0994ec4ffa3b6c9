"""Subscriptions in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from agents import subscriptions
from agents.models import Endpoint, Subscription
from fleetlm.agents_admin.endpoint_admin import EndpointAdmin, HealthFilter, named_at
from fleetlm.agents_admin.endpoint_forms import SubscriptionForm

FILTERS = ("key_prefix", "participant_id", "conversation_kinds", "message_kinds")


@admin.register(Subscription)
class SubscriptionAdmin(EndpointAdmin):
    """Where event webhooks go, how they arrive, and what is outstanding."""

    form = SubscriptionForm
    list_display = (
        *("shown_name", "told_of", "enabled", "health", "streams", "waiting", "parked", "lag", "oldest"),
        "last_success",
    )
    list_filter = (HealthFilter, "enabled", "event")
    search_fields = ("public_id", "url", "description")
    search_help_text = "A part of an id, of a URL or of a description."
    ordering = ("-id",)

    @admin.display(description="subscription")
    def shown_name(self, subscription: Subscription) -> str:
        """What it is for, or else its id, and where it goes."""
        return named_at(subscription.description or str(subscription.public_id), subscription.url)

    @admin.display(description="event")
    def told_of(self, subscription: Subscription) -> str:
        """As it is named in calls."""
        return subscription.event

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscription], search_term: str
    ) -> tuple[QuerySet[Subscription], bool]:
        """By a part of id, URL or description; metrics and logs say `subscription-<id>`."""
        term = search_term.strip().removeprefix("subscription-")
        found = Q(public_id__icontains=term) | Q(url__icontains=term) | Q(description__icontains=term)
        return queryset.filter(found), False

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Event and filters are chosen once."""
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        key = ("api_key", "remove_api_key") if obj else ("api_key",)
        told = "What it is told of" + (" (settled when it was made)" if obj else "")
        return [
            (None, {"fields": (*(("public_id",) if obj else ()), "url", "description")}),
            (told, {"fields": ("event", *FILTERS)}),
            ("Pace", {"fields": (("debounce_ms", "max_in_flight", "timeout_seconds"),)}),
            *([("Keys and headers", {"fields": (*key, "headers")})] if may_write else []),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> tuple[str, ...]:
        """Its filters never change."""
        return ("public_id", "event", *FILTERS) if obj else ()

    def create(self, form: SubscriptionForm) -> tuple[Endpoint, str]:
        """Subscribe."""
        made = subscriptions.subscribe(
            form.cleaned_data["event"],
            form.cleaned_data["url"],
            private=form.private(),
            **{name: value for name, value in form.all_settings().items() if name != "url"},
        )
        return made.subscription, made.secret

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        """Tell it nothing more."""
        subscriptions.unsubscribe(obj.public_id)
