"""What agents and subscriptions have in common over REST: how they are found, their health, secrets and test calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from agents import endpoints, registration, stream_queries, subscriptions
from agents.health import health_of
from agents.models import DeliveryStream, Endpoint
from agents.operations import resume
from conversations import rules
from conversations.append import timestamp
from conversations.errors import NotFound, TooLarge
from fleetlm.api import agent_forms, stream_forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from runtime.database import in_thread
from runtime.ping import ping


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One kind of endpoint: how its id in a path becomes an endpoint, and how its secret is rotated."""

    find: Callable[[str], Endpoint]
    rotate: Callable[[str, datetime, float], str]


def _agent(agent_id: str) -> Endpoint:
    return registration.find_agent(rules.check_id(agent_id))


def _rotate_agent(agent_id: str, now: datetime, overlap_seconds: float) -> str:
    return registration.rotate_secret(rules.check_id(agent_id), now, overlap_seconds)


def subscription_uuid(subscription_id: str) -> UUID:
    """The id of a subscription in a path. Raises `NotFound` for what is none."""
    try:
        return UUID(subscription_id)
    except ValueError:
        raise NotFound("There is no subscription with this id.") from None


def _subscription(subscription_id: str) -> Endpoint:
    return subscriptions.find_subscription(subscription_uuid(subscription_id))


def _rotate_subscription(subscription_id: str, now: datetime, overlap_seconds: float) -> str:
    return subscriptions.rotate_secret(subscription_uuid(subscription_id), now, overlap_seconds)


AGENTS: Final = Endpoints(_agent, _rotate_agent)
SUBSCRIPTIONS: Final = Endpoints(_subscription, _rotate_subscription)


class EndpointView(ApiView):
    """A resource below one endpoint. `endpoints` says whether the id in the path is an agent's or a subscription's."""

    endpoints: Endpoints = AGENTS

    def find(self, ids: Mapping[str, str]) -> Endpoint:
        """The endpoint that the path names. Raises `NotFound`. Synchronous."""
        return self.endpoints.find(_only(ids))


def _only(ids: Mapping[str, str]) -> str:
    [shown_id] = ids.values()
    return shown_id


class RotateSecret(EndpointView):
    """The signing secret."""

    @operation(
        "Rotate the signing secret",
        body=agent_forms.RotateForm,
        answers={200: agent_forms.RotatedAnswer},
    )
    async def post(self, request: HttpRequest, **ids: str) -> Reply:
        """Make a new secret, shown this once; calls are signed with the old one as well until the overlap is over."""
        self.principal.require_server("admin")
        form = self.body(agent_forms.RotateForm)
        given = form.overlap_seconds
        overlap = settings.FLEETLM.agent_secret_overlap if given is None else given
        now = datetime.now(UTC)
        secret = await in_thread(self.endpoints.rotate, _only(ids), now, overlap)
        ends = timestamp(now + timedelta(seconds=overlap)) if overlap else None
        return Reply({"secret": secret, "expires_at": ends})


class Ping(EndpointView):
    """A test call."""

    @operation("Make a test call", answers={200: agent_forms.PingAnswer})
    async def post(self, request: HttpRequest, **ids: str) -> Reply:
        """Call the endpoint once, now, as a real call would; of its answer nothing is stored.

        200 whatever comes of it: `ok` says whether a real call would have done.
        """
        self.principal.require_server("admin")
        pinged = await ping(await in_thread(self.find, ids))
        return Reply(
            {
                "ok": pinged.ok,
                "outcome": pinged.outcome,
                "status": pinged.status,
                "duration_ms": pinged.duration_ms,
                "error": pinged.error,
                "response": pinged.response,
            }
        )


class CloseBreaker(EndpointView):
    """The breaker."""

    @operation("Close the breaker", answers={200: agent_forms.HealthAnswer})
    async def post(self, request: HttpRequest, **ids: str) -> Reply:
        """Take the endpoint for well again: what waits for it is delivered now."""
        self.principal.require_server("admin")
        endpoint = await in_thread(self._close, ids)
        self.runtime.gateway.wake_dispatchers()
        return Reply(health(endpoint))

    def _close(self, ids: Mapping[str, str]) -> Endpoint:
        endpoints.close_breaker(self.find(ids).id)
        return self.find(ids)


class Resume(EndpointView):
    """The parked streams."""

    @operation(
        "Resume parked streams", body=stream_forms.ResumeForm, answers={200: stream_forms.ResumedAnswer}
    )
    async def post(self, request: HttpRequest, **ids: str) -> Reply:
        """Make the calls again that were given up after too many failures, those that were parked first. Streams that an
        operator has paused stay paused."""
        self.principal.require_server("admin")
        form = self.body(stream_forms.ResumeForm)
        resumed, parked = await in_thread(self._resume, ids, form.limit)
        self.runtime.gateway.wake_dispatchers()
        return Reply({"resumed": resumed, "parked": parked})

    @transaction.atomic
    def _resume(self, ids: Mapping[str, str], limit: int) -> tuple[int, int]:
        parked = stream_queries.parked(self.find(ids))
        chosen = list(parked.values_list("id", flat=True)[:limit])
        return resume(DeliveryStream.objects.filter(id__in=chosen)), parked.count()


def health(endpoint: Endpoint) -> dict[str, Any]:
    """How calls fare there, as clients see it."""
    return {
        "state": health_of(endpoint).replace(" ", "_"),
        "failures": endpoint.failures,
        "last_success_at": moment(endpoint.last_success_at),
        "last_failure_at": moment(endpoint.last_failure_at),
        "last_error": endpoint.last_error,
        "opened_at": moment(endpoint.opened_at),
        "next_probe_at": moment(endpoint.probe_at),
        "disabled_reason": endpoint.disabled_reason,
    }


def common(endpoint: Endpoint) -> dict[str, Any]:
    """What of an endpoint clients see, whatever it is: no secret, no key, no header's value."""
    return {
        "url": endpoint.url,
        "header_names": endpoint.header_names,
        "debounce_ms": endpoint.debounce_ms,
        "max_in_flight": endpoint.max_in_flight,
        "timeout_seconds": endpoint.timeout_seconds,
        "enabled": endpoint.enabled,
        "health": health(endpoint),
        "secrets": _secrets(endpoint),
        "created_at": timestamp(endpoint.created_at),
        "updated_at": timestamp(endpoint.updated_at),
    }


def _secrets(endpoint: Endpoint) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    kept = [
        (one["id"], datetime.fromisoformat(one["expires_at"]) if one["expires_at"] else None)
        for one in endpoint.secrets
    ]
    return [{"id": name, "expires_at": moment(ends)} for name, ends in kept if ends is None or ends > now]


def moment(value: datetime | None) -> str | None:
    """A time as clients see it, or null."""
    return None if value is None else timestamp(value)


def given(form: msgspec.Struct) -> dict[str, Any]:
    """The fields of a change that were sent."""
    return {name: value for name, value in msgspec.structs.asdict(form).items() if value is not msgspec.UNSET}


def check_object(value: dict[str, Any], name: str) -> None:
    """Raise `InvalidRequest` or `TooLarge` for a JSON object that cannot be kept."""
    rules.check_json(value, name, settings.FLEETLM.json_depth)
    if len(msgspec.json.encode(value)) > settings.FLEETLM.content_bytes:
        raise TooLarge(field=name, limit=settings.FLEETLM.content_bytes)


def take_private(changes: dict[str, Any]) -> dict[str, Any]:
    """Take `headers` and `api_key`, those of them that are there, out of the changes."""
    return {name: changes.pop(name) for name in ("headers", "api_key") if name in changes}
