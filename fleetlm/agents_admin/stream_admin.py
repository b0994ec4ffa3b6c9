"""Delivery streams in the admin: what each endpoint has got of each conversation, and the levers."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from agents import stream_queries
from agents.models import DeliveryStream, Endpoint
from conversations.readonly_admin import ReadOnlyAdmin, find_conversation
from fleetlm.agents_admin import shown, stream_buttons
from fleetlm.agents_admin.attempts_shown import newest_of_stream
from fleetlm.agents_admin.buttons import ButtonsAdmin, Outcome
from fleetlm.agents_admin.stream_states import CHOICES, state_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]

SELECTED_MAX: Final = 1_000
"""Streams that one action changes: it does so within a request."""


class StateFilter(admin.SimpleListFilter):
    """What a stream is doing."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: "_ModelAdmin") -> list[tuple[str, str]]:
        """The choices."""
        return [(state.name, state.label) for state in CHOICES.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The streams in the chosen state."""
        chosen = CHOICES.get(self.value() or "")
        return queryset.filter(chosen.condition) if chosen else queryset


@admin.register(DeliveryStream)
class DeliveryStreamAdmin(ReadOnlyAdmin, ButtonsAdmin):
    """What each endpoint has got of each conversation. Buttons and actions are the only way to change it."""

    list_display = (
        *("id", "endpoint_link", "conversation_link", "cursor", "lag", "state_and_error", "due", "attempts"),
    )
    list_filter = (StateFilter,)
    list_select_related = ("conversation", "endpoint")
    ordering = ("-id",)
    search_fields = ("endpoint",)
    search_help_text = "An agent's or a subscription's id, or a conversation's key, whole."
    actions = ("resume", "pause", "retry_now", "skip", "replay")
    buttons = stream_buttons.BUTTONS
    change_form_template = "admin/agents/stream.html"
    fieldsets = (
        (
            "The row, as the dispatcher sees it",
            {
                "classes": ("collapse",),
                "fields": (
                    *("enabled", "handed_over", "trigger", "cursor", "wanted_seq", "waiting_since", "due_at"),
                    *("call_id", "call_seq", "attempts", "first_failed_at", "lease_id", "run_id"),
                    *("cancel_run_id", "replay_cursor", "replay_to", "blocked", "parked_at", "park_reason"),
                    "created_at",
                ),
            },
        ),
    )

    def has_press_permission(self, request: HttpRequest, row: Any = None) -> bool:
        """Those who may change streams: the rows cannot be edited, but buttons and actions are theirs."""
        return request.user.has_perm("agents.change_deliverystream")

    # The list.

    @admin.display(description="endpoint")
    def endpoint_link(self, stream: DeliveryStream) -> str:
        """Who is called."""
        return _link(endpoint_address(stream.endpoint), shown_name(stream.endpoint), 32)

    @admin.display(description="conversation")
    def conversation_link(self, stream: DeliveryStream) -> str:
        """For which conversation."""
        address = reverse("admin:conversations_conversation_change", args=(stream.conversation_id,))
        return _link(address, stream.conversation.key, 48)

    @admin.display(description="lag")
    def lag(self, stream: DeliveryStream) -> str:
        """What it has still to be given; of an inbox, changes."""
        return shown.number(stream_queries.lag(stream))

    @admin.display(description="state")
    def state(self, stream: DeliveryStream) -> str:
        """In a coloured word."""
        state = state_of(stream)
        return shown.word(state.label, state.tone, state.means)

    @admin.display(description="state, last error")
    def state_and_error(self, stream: DeliveryStream) -> str:
        """And why its call failed."""
        if not stream.last_error:
            return self.state(stream)
        error = format_html('<span class="fleetlm-error">{}</span>', shown.shortened(stream.last_error, 72))
        return shown.two_lines(self.state(stream), error)

    @admin.display(description="due")
    def due(self, stream: DeliveryStream) -> str:
        """When the next call is made, or when the lease of the one under way ends."""
        return shown.age(stream.due_at)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Along the index that finds the chosen state, so that a million idle streams are not looked through."""
        chosen = CHOICES.get(request.GET.get(StateFilter.parameter_name, ""))
        return (chosen.order,) if chosen else ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The streams of this endpoint or over this conversation. All are looked up in an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (conversation := find_conversation(term)) is not None:
            return queryset.filter(conversation=conversation), False
        return queryset.filter(
            endpoint__in=list(Endpoint.objects.filter(named(term)).values_list("id", flat=True))
        ), False

    # The page.

    def title_of(self, row: DeliveryStream) -> str:
        """Who is told of what."""
        return stream_title(row)

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Where the stream is, the buttons, its attempts, and the row itself."""
        if obj is not None:
            buttons = self.shown_buttons(request, obj)
            context |= {
                "stream": obj,
                "subtitle": self.title_of(obj),
                "endpoint_link": self.endpoint_link(obj),
                "conversation_link": self.conversation_link(obj),
                "state": self.state(obj),
                "lag": self.lag(obj),
                "due": self.due(obj),
                "waiting": shown.age(obj.waiting_since),
                "failing": shown.age(obj.first_failed_at),
                "buttons": [one for one in buttons if one.form is None],
                "forms": [one for one in buttons if one.form is not None],
                "attempts": newest_of_stream(obj.pk)
                if request.user.has_perm("agents.view_attempt")
                else None,
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    # The actions.

    @admin.action(description="Resume", permissions=["press"])
    def resume(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Call again where calls were given up or paused."""
        self._each(request, queryset, stream_buttons.resume, "resumed")

    @admin.action(description="Pause: make no more calls until resumed", permissions=["press"])
    def pause(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Park them."""
        self._each(request, queryset, stream_buttons.pause, "paused")

    @admin.action(description="Retry now", permissions=["press"])
    def retry_now(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Make waiting calls at once."""
        self._each(request, queryset, stream_buttons.retry_now, "to be retried now")

    @admin.action(
        description="Skip the pending call: its messages are never delivered", permissions=["press"]
    )
    def skip(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Give up pending calls."""
        self._each(request, queryset, stream_buttons.skip_pending, "skipped")

    @admin.action(description="Replay: deliver the newest delivered message again", permissions=["press"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeliveryStream]) -> None:
        """Deliver the newest message that was delivered once more, as a new call. From elsewhere: `manage.py replay`."""
        self._each(request, queryset, stream_buttons.replay_newest, "to be delivered again")

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeliveryStream],
        act: Callable[[DeliveryStream, Mapping[str, Any]], Outcome],
        word: str,
    ) -> None:
        streams = list(queryset[: SELECTED_MAX + 1])
        if len(streams) > SELECTED_MAX:
            self.message_user(request, f"At most {SELECTED_MAX:,} at a time.", messages.ERROR)
            return
        done, refused = stream_buttons.for_each(streams, act)
        if done:
            LogEntry.objects.log_actions(str(request.user.pk), done, CHANGE, f"{word.capitalize()}.")
        self.message_user(request, f"{len(done)} {word}.")
        if refused:
            why = " ".join(sorted(set(refused))[:3])
            self.message_user(request, f"{len(refused)} stayed as they were. {why}", messages.WARNING)


def named(name: str) -> Q:
    """Endpoints of this agent, or the subscription with this id, as metrics and logs name it too."""
    try:
        return Q(public_id=UUID(name.removeprefix("subscription-")))
    except ValueError:
        return Q(agent_id=name)


def shown_name(endpoint: Endpoint) -> str:
    """What operators call it: an agent's id, what a subscription is for, or else its id."""
    return endpoint.agent_id or endpoint.description or endpoint.name


def stream_title(stream: DeliveryStream) -> str:
    """What operators call a stream: its endpoint and its conversation."""
    return f"{shown_name(stream.endpoint)} over {stream.conversation.key}"


def endpoint_address(endpoint: Endpoint) -> str:
    """The page of an endpoint, whichever of the two it is."""
    kind = "agentendpoint" if endpoint.agent_id is not None else "subscription"
    return reverse(f"admin:agents_{kind}_change", args=(endpoint.pk,))


def _link(address: str, text: str, characters: int) -> str:
    return format_html('<a href="{}">{}</a>', address, shown.shortened(text, characters))
