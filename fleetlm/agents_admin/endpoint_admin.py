"""What agents' endpoints and subscriptions have in common in the admin: health, backlog, secrets, attempts, buttons."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from agents.backlog import Backlog, backlogs
from agents.health import CONDITIONS, Health, health_of
from agents.models import Endpoint
from agents.secrets import open_private
from conversations.errors import FleetLMError
from fleetlm.agents_admin import endpoint_buttons, shown
from fleetlm.agents_admin.attempts_shown import newest_of_endpoint
from fleetlm.agents_admin.buttons import ButtonsAdmin
from fleetlm.agents_admin.endpoint_forms import EndpointForm
from fleetlm.agents_admin.trial import TEST

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]

TONES: Final[Mapping[Health, str]] = {
    Health.OK: "good",
    Health.FAILING: "warn",
    Health.OPEN: "bad",
    Health.DISABLED: "quiet",
    Health.NEVER_CALLED: "quiet",
}
MEANINGS: Final[Mapping[Health, str]] = {
    Health.OK: "the last call succeeded",
    Health.FAILING: "the last call failed",
    Health.OPEN: "its breaker is open: one call at a time, to see whether it is well again",
    Health.DISABLED: "it is not called",
    Health.NEVER_CALLED: "it has not been called yet",
}


class HealthFilter(admin.SimpleListFilter):
    """Endpoints by their health."""

    title = "health"
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: "_ModelAdmin") -> list[tuple[str, str]]:
        """The words."""
        return [(health.name.lower(), health.value) for health in Health]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen health."""
        chosen = next((health for health in Health if health.name.lower() == self.value()), None)
        return queryset if chosen is None else queryset.filter(CONDITIONS[chosen])


class BacklogChangeList(ChangeList):
    """Counts what waits, for the endpoints of the page that is shown, in one statement."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's endpoints, each with its backlog."""
        super().get_results(request)
        endpoints: list[Any] = list(self.result_list)
        _count(endpoints)
        self.result_list = endpoints


def _count(endpoints: list[Any]) -> None:
    found = backlogs(endpoints)
    for endpoint in endpoints:
        endpoint.backlog = found.get(endpoint.id)


class EndpointAdmin(ButtonsAdmin):
    """Both kinds ask for the permissions of `agents.endpoint`, so that there is one set of them to give."""

    actions = None
    list_per_page = 25
    change_form_template = "admin/agents/endpoint.html"
    delete_confirmation_template = "admin/agents/delete_endpoint.html"
    buttons = (TEST, *endpoint_buttons.BUTTONS)
    numbers = ("streams", "waiting", "parked", "lag", "oldest", "last_success", "error")

    # Permissions.

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Those who may see or change endpoints."""
        return _may(request, "view") or _may(request, "change")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Those who may add endpoints."""
        return _may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Those who may change endpoints; they may press the buttons too."""
        return _may(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Those who may delete endpoints."""
        return _may(request, "delete")

    # The list.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that counts."""
        return BacklogChangeList

    @admin.display(description="health, error")
    def health(self, endpoint: Endpoint) -> str:
        """In a coloured word, and what the newest failure was."""
        health = health_of(endpoint)
        word = shown.word(health.value, TONES[health])
        return shown.two_lines(word, self.error(endpoint)) if endpoint.last_error else word

    @admin.display(description="streams")
    def streams(self, endpoint: Endpoint) -> str:
        """Conversations that it follows."""
        backlog = backlog_of(endpoint)
        return shown.streams(backlog.streams if backlog else None)

    @admin.display(description="waiting")
    def waiting(self, endpoint: Endpoint) -> str:
        """Streams that are due, retried or set aside."""
        backlog = backlog_of(endpoint)
        return shown.number(backlog.waiting if backlog else None)

    @admin.display(description="parked")
    def parked(self, endpoint: Endpoint) -> str:
        """Streams that were given up or paused: with a link to them."""
        backlog = backlog_of(endpoint)
        if backlog is None or not backlog.parked:
            return shown.number(0 if backlog else None)
        link = f"{streams_address(endpoint)}&state=all_parked"
        return format_html('<a href="{}" class="fleetlm-parked">{}</a>', link, shown.number(backlog.parked))

    @admin.display(description="lag")
    def lag(self, endpoint: Endpoint) -> str:
        """Messages that it has not got."""
        backlog = backlog_of(endpoint)
        return shown.number(backlog.lag if backlog else None)

    @admin.display(description="oldest")
    def oldest(self, endpoint: Endpoint) -> str:
        """Since when the oldest of them waits."""
        backlog = backlog_of(endpoint)
        return shown.age(backlog.oldest if backlog else None)

    @admin.display(description="last success")
    def last_success(self, endpoint: Endpoint) -> str:
        """When a call succeeded, to some seconds."""
        return shown.age(endpoint.last_success_at)

    @admin.display(description="last error")
    def error(self, endpoint: Endpoint) -> str:
        """What the newest failure was, while it matters."""
        if not endpoint.last_error:
            return shown.NOTHING
        text = shown.shortened(endpoint.last_error, 72)
        old = _is_over(endpoint)
        return format_html('<span class="fleetlm-error{}">{}</span>', " fleetlm-over" if old else "", text)

    # The page.

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What cannot be saved, although the form was valid, is said on the form."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except FleetLMError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(request.path)

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The form, and around it how the endpoint is, the buttons and its newest attempts."""
        if add:  # the page after it shows the secret
            context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        if obj is not None and change:
            endpoint = self.get_queryset(request).get(pk=obj.pk)  # the form may have changed `obj` already
            _count([endpoint])
            context |= self._about(request, endpoint)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def title_of(self, row: Any) -> str:
        """An agent's id, or what a subscription is for."""
        return str(row.agent_id or row.description or row.name)

    def _about(self, request: HttpRequest, endpoint: Any) -> dict[str, Any]:
        private = _private_of(endpoint)
        health = health_of(endpoint)
        return {
            "endpoint": endpoint,
            "subtitle": self.title_of(endpoint),
            "health": shown.word(health.value, TONES[health]),
            "health_means": MEANINGS[health],
            "numbers": {name: getattr(self, name)(endpoint) for name in self.numbers},
            "secrets": [_secret_shown(one, timezone.now()) for one in endpoint.secrets],
            "has_key": private,
            "streams_address": streams_address(endpoint),
            "buttons": self.shown_buttons(request, endpoint),
            "attempts": newest_of_endpoint(endpoint.pk)
            if request.user.has_perm("agents.view_attempt")
            else None,
        }

    # Writes.

    def save_model(self, request: HttpRequest, obj: Any, form: EndpointForm, change: bool) -> None:
        """Through the functions that REST calls too."""
        if change:
            endpoint_buttons.update(obj, private=form.private_changes(), **form.changes())
            return
        made, secret = self.create(form)
        for name in ("id", "agent_id", "public_id"):
            setattr(obj, name, getattr(made, name))
        obj.shown_secret = secret

    def create(self, form: Any) -> tuple[Endpoint, str]:
        """Make what the form describes; returns it with its secret."""
        raise NotImplementedError

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The new secret: on this page, once."""
        return self._page(
            request, obj, endpoint_buttons.SHOWN_ONCE, {"secret": obj.shown_secret, "is_new": True}
        )

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """The endpoint alone: what goes with it may be millions of rows, which nobody can read."""
        return [str(endpoint) for endpoint in objs], {}, set(), []


def named_at(name: str, url: str) -> str:
    """What an endpoint is called, and below it where it is."""
    address = format_html('<span class="fleetlm-address">{}</span>', shown.shortened(url, 44))
    return shown.two_lines(shown.shortened(name, 32), address)


def backlog_of(endpoint: Any) -> Backlog | None:
    """As it was counted for this page; None if that took too long."""
    found: Backlog | None = endpoint.backlog
    return found


def streams_address(endpoint: Endpoint) -> str:
    """The list of its delivery streams."""
    return f"{reverse('admin:agents_deliverystream_changelist')}?endpoint__id__exact={endpoint.pk}"


def _may(request: HttpRequest, what: str) -> bool:
    return request.user.has_perm(f"agents.{what}_endpoint")


def _is_over(endpoint: Endpoint) -> bool:
    """Whether a call has succeeded since the newest failure."""
    failed, succeeded = endpoint.last_failure_at, endpoint.last_success_at
    return endpoint.failures == 0 and failed is not None and succeeded is not None


def _secret_shown(secret: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    expires = datetime.fromisoformat(secret["expires_at"]) if secret["expires_at"] else None
    return {
        "id": secret["id"],
        "expires": shown.age(expires, now) if expires else "",
        "expired": expires is not None and expires <= now,
    }


def _private_of(endpoint: Endpoint) -> str:
    try:
        return "set" if open_private(endpoint.sealed).api_key is not None else "none"
    except InvalidToken:
        return "stored under another FLEETLM_SECRET_KEY, it cannot be read"
