"""Agents' endpoints in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from agents import registration
from agents.models import AgentEndpoint, Endpoint
from fleetlm.agents_admin.endpoint_admin import EndpointAdmin, HealthFilter, named_at
from fleetlm.agents_admin.endpoint_forms import AgentForm


@admin.register(AgentEndpoint)
class AgentEndpointAdmin(EndpointAdmin):
    """Where agents are called, how they are, and what they have not got."""

    form = AgentForm
    list_display = (
        *("agent_name", "spoken", "enabled", "health", "streams", "waiting", "parked", "lag", "oldest"),
        "last_success",
    )
    list_filter = (HealthFilter, "enabled", "dialect")
    list_select_related = ("agent",)
    search_fields = ("agent__id", "url")
    search_help_text = "A part of an agent's id or of a URL."
    ordering = ("agent_id",)

    @admin.display(description="agent")
    def agent_name(self, endpoint: AgentEndpoint) -> str:
        """The participant that it is, and where it is called."""
        return named_at(endpoint.name, endpoint.url)

    @admin.display(description="dialect")
    def spoken(self, endpoint: AgentEndpoint) -> str:
        """As REST names it."""
        return endpoint.dialect

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AgentEndpoint], search_term: str
    ) -> tuple[QuerySet[AgentEndpoint], bool]:
        """By a part of id or URL."""
        term = search_term.strip()
        return queryset.filter(Q(agent__id__icontains=term) | Q(url__icontains=term)), False

    def get_fieldsets(self, request: HttpRequest, obj: AgentEndpoint | None = None) -> Any:
        """A new agent is named; what it keeps to itself is only for those who may change it."""
        named = ("display_name",) if obj else ("agent_id", "display_name")
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        key = ("api_key", "remove_api_key") if obj else ("api_key",)
        return [
            (None, {"fields": (*(named if may_write else ()), "url", "dialect", "options", "description")}),
            ("What it is called for", {"fields": (("trigger", "while_running"),)}),
            ("What a call carries", {"fields": (("context_messages", "context_tokens"),)}),
            ("Pace", {"fields": (("debounce_ms", "max_in_flight", "timeout_seconds"),)}),
            *([("Keys and headers", {"fields": (*key, "headers")})] if may_write else []),
        ]

    def create(self, form: AgentForm) -> tuple[Endpoint, str]:
        """Register the agent."""
        made = registration.register_agent(
            form.cleaned_data["agent_id"],
            display_name=form.cleaned_data["display_name"],
            private=form.private(),
            **form.all_settings(),
        )
        return made.endpoint, made.secret

    def delete_model(self, request: HttpRequest, obj: AgentEndpoint) -> None:
        """Call it no more; it stays a participant."""
        assert obj.agent_id is not None  # noqa: S101  # the manager gives agents only
        registration.delete_agent(obj.agent_id)
