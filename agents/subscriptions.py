"""Subscriptions come, change and go. Their streams come by themselves, with the first message that concerns them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from agents import endpoints, operations, secrets, signing
from agents.models import Subscription


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A new subscription, and its signing secret in plain: the only time that it can be shown."""

    subscription: Subscription
    secret: str


@transaction.atomic
def subscribe(event: str, url: str, *, private: secrets.Private | None = None, **settings: Any) -> Subscribed:
    """Have `url` told of this event, from the next one on. `settings` are fields of `agents.models.Endpoint`."""
    secret = signing.generate_secret()
    subscription = Subscription(event=event, url=url, secrets=[secrets.seal(secret)], **settings)
    endpoints.keep_private(subscription, private or secrets.Private())
    subscription.save()
    return Subscribed(subscription, secret)


@transaction.atomic
def update_subscription(
    subscription_id: UUID, *, private: dict[str, Any] | None = None, **changes: Any
) -> Subscription:
    """Change where it goes, or whether it is `enabled`: while it is not, its cursors stay. Raises `NotFound`."""
    subscription = _locked(subscription_id)
    endpoints.change(subscription, changes, private or {})
    return subscription


@transaction.atomic
def rotate_secret(subscription_id: UUID, now: datetime, overlap_seconds: float) -> str:
    """A new signing secret; the one before signs beside it for so long. Raises `NotFound`."""
    return endpoints.rotate(_locked(subscription_id), now, overlap_seconds)


def find_subscription(subscription_id: UUID) -> Subscription:
    """The subscription; raises `NotFound`."""
    return endpoints.found(Subscription.objects.filter(public_id=subscription_id), str(subscription_id))


def _locked(subscription_id: UUID) -> Subscription:
    rows = Subscription.objects.select_for_update(no_key=True).filter(public_id=subscription_id)
    return endpoints.found(rows, str(subscription_id))


@transaction.atomic
def unsubscribe(subscription_id: UUID) -> None:
    """Tell it nothing more, and forget what it was told. Raises `NotFound`."""
    found = Subscription.objects.filter(public_id=subscription_id)
    endpoints.found(found.select_for_update(), str(subscription_id))
    operations.delete_endpoints(found)
