"""Agents in the admin: what is called, what is due or fails, and every call. Secrets are never shown."""

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from agents import operations
from agents.models import AgentEndpoint, Attempt, DeliveryStream
from conversations.readonly_admin import ParticipationAdmin, ReadOnlyAdmin, find_conversation

REPLAY_MAX: Final = 1_000

STATES: Final = {
    "calling": ("being called", Q(lease_id__isnull=False)),
    "due": ("due or to be retried", Q(lease_id__isnull=True, due_at__isnull=False)),
    "failing": ("failing", Q(first_failed_at__isnull=False)),
    "parked": ("parked", Q(parked_at__isnull=False)),
}


class StreamState(admin.SimpleListFilter):
    """What a stream is doing."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The choices."""
        return [(name, label) for name, (label, _) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The streams in the chosen state."""
        chosen = STATES.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


@admin.register(AgentEndpoint)
class AgentEndpointAdmin(ReadOnlyAdmin):
    """Where agents are called. They are registered and changed through the API, which checks and shows the
    secret."""

    list_display = ("agent_id", "url", "dialect", "enabled", "streams", "due", "parked", "updated_at")
    list_filter = ("enabled", "dialect")
    search_fields = ("agent__id", "url")
    fields = (
        *(
            "agent",
            "url",
            "dialect",
            "context_messages",
            "debounce_ms",
            "enabled",
            "streams",
            "due",
            "parked",
        ),
        *("created_at", "updated_at"),
    )
    ordering = ("agent_id",)

    @admin.display(description="streams")
    def streams(self, endpoint: AgentEndpoint) -> int:
        """Conversations that it takes part in."""
        return _counts(endpoint)["all"]

    @admin.display(description="due")
    def due(self, endpoint: AgentEndpoint) -> int:
        """Streams that wait for a call or are being called."""
        return _counts(endpoint)["due"]

    @admin.display(description="parked")
    def parked(self, endpoint: AgentEndpoint) -> int:
        """Streams that were given up."""
        return _counts(endpoint)["parked"]


@admin.register(DeliveryStream)
class DeliveryStreamAdmin(ParticipationAdmin):
    """What each agent has got of each conversation. The actions are the only way to change it."""

    list_display = (
        *("id", "agent_id", "conversation", "cursor", "lag", "due_at", "lease_id", "attempts", "parked_at"),
        "last_error",
    )
    list_filter = (StreamState, "enabled")
    owner = "endpoint__agent_id"
    search_help_text = "An agent's id or a conversation's key, whole."
    actions = ("resume", "park", "replay")

    @admin.display(description="lag")
    def lag(self, stream: DeliveryStream) -> int:
        """Messages of the conversation that it has not got."""
        return stream.conversation.last_seq - stream.cursor

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether this operator may run the actions: rows cannot be edited, but those who may change them may
        act."""
        return request.user.has_perm("agents.change_deliverystream")

    @admin.action(description="Resume parked streams", permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Call again where calls were given up."""
        self.message_user(request, f"{operations.resume(queryset)} resumed.")

    @admin.action(description="Park: make no more calls until resumed", permissions=["act"])
    def park(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Stop calling."""
        self.message_user(request, f"{operations.park(queryset)} parked.")

    @admin.action(description="Replay: deliver the newest message again", permissions=["act"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Deliver the newest message once more, as a new call. From elsewhere: `manage.py replay`."""
        streams = list(queryset.filter(conversation__last_seq__gt=0)[: REPLAY_MAX + 1])
        if len(streams) > REPLAY_MAX:
            self.message_user(request, f"At most {REPLAY_MAX} at a time.", messages.ERROR)
            return
        for stream in streams:
            operations.replay_from(stream.conversation.key, stream.agent_id, stream.conversation.last_seq)
        self.message_user(request, f"{len(streams)} will be delivered again.")


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Every call, newest first."""

    list_display = (
        *("created_at", "agent", "conversation", "number", "from_seq", "to_seq", "outcome", "status"),
        *("duration_ms", "error"),
    )
    list_filter = ("outcome",)
    search_fields = ("stream",)
    search_help_text = "A conversation's key, whole."
    list_select_related = ("stream__conversation",)
    ordering = ("-created_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The calls for this conversation: by two indexes."""
        if not search_term:
            return queryset, False
        return queryset.filter(stream__conversation=find_conversation(search_term)), False

    @admin.display(description="agent")
    def agent(self, attempt: Attempt) -> str:
        """Who was called."""
        return attempt.stream.agent_id

    @admin.display(description="conversation")
    def conversation(self, attempt: Attempt) -> str:
        """For which conversation."""
        return attempt.stream.conversation.key


def _counts(endpoint: AgentEndpoint) -> dict[str, int]:
    """The numbers of an endpoint's streams, counted once for each row that is shown."""
    counts: dict[str, int] | None = getattr(endpoint, "shown_counts", None)
    if counts is None:
        counts = endpoint.streams.aggregate(
            all=Count("id"),
            due=Count("id", filter=Q(due_at__isnull=False)),
            parked=Count("id", filter=Q(parked_at__isnull=False)),
        )
        endpoint.shown_counts = counts  # type: ignore[attr-defined]  # for the other columns of this row
    return counts
