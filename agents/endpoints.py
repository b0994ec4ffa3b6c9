"""What agents' endpoints and subscriptions have in common: changes, secrets, health. Synchronous; call it in a transaction."""

from datetime import datetime
from typing import Any, TypeVar

from cryptography.fernet import InvalidToken
from django.db import models, transaction

from agents import operations, secrets
from agents.models import DeliveryStream, Endpoint
from conversations.errors import Conflict, NotFound

E = TypeVar("E", bound=Endpoint)


def found(endpoints: "models.QuerySet[E]", shown_id: str) -> E:
    """The one endpoint; raises `NotFound`."""
    endpoint = endpoints.first()
    if endpoint is None:
        raise NotFound("There is no endpoint with this id.", id=shown_id)
    return endpoint


def change(endpoint: Endpoint, changes: dict[str, Any], private: dict[str, Any]) -> None:
    """Write changes to a locked endpoint; its streams follow `enabled`.

    `private` holds `headers`, `api_key` or neither. Another URL, and enabling, close its breaker.
    """
    was_enabled, was_url = endpoint.enabled, endpoint.url
    for name, value in changes.items():
        setattr(endpoint, name, value)
    if private:
        keep_private(endpoint, secrets.Private(**(_kept(endpoint, private) | private)))
    if endpoint.enabled and not was_enabled:
        endpoint.disabled_reason = ""
    reset = endpoint.url != was_url or (endpoint.enabled and not was_enabled)
    if reset:
        _close_breaker(endpoint)
    endpoint.save()
    if endpoint.enabled != was_enabled:
        operations.set_enabled(endpoint)
    if reset:
        operations.retry_now(DeliveryStream.objects.filter(endpoint_id=endpoint.id, blocked=True))


def _kept(endpoint: Endpoint, private: dict[str, Any]) -> dict[str, Any]:
    """The headers and the key as they are, unless both are given anew. Raises `Conflict` if they cannot be read."""
    if {"headers", "api_key"} <= private.keys():
        return {}
    try:
        known = secrets.open_private(endpoint.sealed)
    except InvalidToken:
        raise Conflict(
            "What is kept was stored under another FLEETLM_SECRET_KEY; send both headers and api_key."
        ) from None
    return {"headers": known.headers, "api_key": known.api_key}


def _close_breaker(endpoint: Endpoint) -> None:
    endpoint.failures, endpoint.opened_at, endpoint.probe_at, endpoint.probe_pause = 0, None, None, 0


@transaction.atomic
def close_breaker(endpoint_id: int) -> None:
    """Take an endpoint for well again, because an operator says so: what waits for it is delivered now."""
    endpoint = Endpoint.objects.select_for_update(no_key=True).get(id=endpoint_id)
    _close_breaker(endpoint)
    endpoint.save()
    operations.retry_now(DeliveryStream.objects.filter(endpoint_id=endpoint_id, blocked=True))


@transaction.atomic
def disable(endpoint_id: int, reason: str, *, url: str) -> None:
    """Make no more calls there until an operator enables it again; its streams keep their cursors.

    Nothing happens if it has moved away from `url` meanwhile: that is where the reason came from.
    """
    endpoint = Endpoint.objects.select_for_update(no_key=True).filter(id=endpoint_id, enabled=True).first()
    if endpoint is not None and endpoint.url == url:
        endpoint.disabled_reason = reason[:200]
        change(endpoint, {"enabled": False}, {})


def keep_private(endpoint: Endpoint, private: secrets.Private) -> None:
    """Seal headers and key into the endpoint; the names of the headers stay to be seen."""
    endpoint.sealed = secrets.seal_private(private)
    endpoint.header_names = sorted(private.headers)


def rotate(endpoint: Endpoint, now: datetime, overlap_seconds: float) -> str:
    """Give a locked endpoint a new signing secret and return it: the only time that it can be shown."""
    secret, endpoint.secrets = secrets.rotate(endpoint.secrets, now, overlap_seconds)
    endpoint.save()
    return secret
