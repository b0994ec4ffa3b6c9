"""Every path. The API's are served by the lean handler, the others by Django's own."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from fleetlm.api.agents import AgentDetail, Agents
from fleetlm.api.base import error_response
from fleetlm.api.batch import MessagesBatch
from fleetlm.api.conversations import (
    ConversationDetail,
    Conversations,
    ConversationState,
    MemberDetail,
    Members,
)
from fleetlm.api.endpoints import SUBSCRIPTIONS, CloseBreaker, Ping, Resume, RotateSecret
from fleetlm.api.handoff import Handoff
from fleetlm.api.inbox import Inbox, InboxEvents
from fleetlm.api.messages import Events, Messages
from fleetlm.api.participants import ParticipantDetail, Participants
from fleetlm.api.runs import RunCancel, Runs
from fleetlm.api.search import Search
from fleetlm.api.signals import Read, Typing
from fleetlm.api.streams import (
    AgentStreamDetail,
    Attempts,
    Pause,
    Redeliver,
    ResumeStream,
    Retry,
    Rewind,
    Skip,
    StreamDetail,
    Streams,
)
from fleetlm.api.subscriptions import SubscriptionDetail, Subscriptions
from fleetlm.api.tokens import Tokens
from fleetlm.errors import InternalError, as_error
from fleetlm.playground import playground
from observability import health_views
from observability.metrics_view import metrics

_conversation = "api/conversations/<str:key>"
_agent = "api/agents/<str:agent_id>"
_subscription = "api/subscriptions/<str:subscription_id>"
_of_an_endpoint = {
    "rotate-secret": RotateSecret,
    "test": Ping,
    "close-breaker": CloseBreaker,
    "resume": Resume,
    "attempts": Attempts,
    "streams": Streams,
    "streams/<str:key>/pause": Pause,
    "streams/<str:key>/resume": ResumeStream,
    "streams/<str:key>/retry": Retry,
    "streams/<str:key>/skip": Skip,
    "streams/<str:key>/rewind": Rewind,
    "streams/<str:key>/redeliver": Redeliver,
}

urlpatterns = [
    path("", playground),
    path("favicon.ico", RedirectView.as_view(url="/static/fleetlm/favicon.svg", permanent=True)),
    path("admin/", admin.site.urls),
    path("health", health_views.summary),
    path("health/live", health_views.live),
    path("health/ready", health_views.ready),
    path("metrics", metrics),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema")),
    path("api/conversations", Conversations.as_view()),
    path(_conversation, ConversationDetail.as_view()),
    path(f"{_conversation}/messages", Messages.as_view()),
    path(f"{_conversation}/messages/batch", MessagesBatch.as_view()),
    path(f"{_conversation}/events", Events.as_view()),
    path(f"{_conversation}/read", Read.as_view()),
    path(f"{_conversation}/typing", Typing.as_view()),
    path(f"{_conversation}/runs", Runs.as_view()),
    path(f"{_conversation}/runs/<str:run_id>/cancel", RunCancel.as_view()),
    path(f"{_conversation}/participants", Members.as_view()),
    path(f"{_conversation}/participants/<str:participant_id>", MemberDetail.as_view()),
    path(f"{_conversation}/close", ConversationState.as_view(state="closed")),
    path(f"{_conversation}/archive", ConversationState.as_view(state="archived")),
    path(f"{_conversation}/reopen", ConversationState.as_view(state="open")),
    path(f"{_conversation}/handoff", Handoff.as_view()),
    path("api/inbox/<str:participant_id>", Inbox.as_view()),
    path("api/inbox/<str:participant_id>/events", InboxEvents.as_view()),
    path("api/search", Search.as_view()),
    path("api/participants", Participants.as_view()),
    path("api/participants/<str:participant_id>", ParticipantDetail.as_view()),
    path("api/agents", Agents.as_view()),
    path(_agent, AgentDetail.as_view()),
    path(f"{_agent}/streams/<str:key>", AgentStreamDetail.as_view()),
    *(path(f"{_agent}/{route}", view.as_view()) for route, view in _of_an_endpoint.items()),
    path("api/subscriptions", Subscriptions.as_view()),
    path(_subscription, SubscriptionDetail.as_view()),
    path(f"{_subscription}/streams/<str:key>", StreamDetail.as_view(endpoints=SUBSCRIPTIONS)),
    *(
        path(f"{_subscription}/{route}", view.as_view(endpoints=SUBSCRIPTIONS))
        for route, view in _of_an_endpoint.items()
    ),
    path("api/tokens", Tokens.as_view()),
]


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Nothing at this path, in the shape of every error."""
    return error_response(as_error(exception or Http404()))


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault of ours, in the shape of every error."""
    return error_response(InternalError())


handler404 = not_found
handler500 = server_error
