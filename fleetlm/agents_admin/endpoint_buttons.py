"""What an operator does to an endpoint: test, rotate, disable, enable, close its breaker, resume what is parked."""

from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Any, Final

from django import forms
from django.conf import settings
from django.utils import timezone

from agents import endpoints, operations, registration, stream_queries, subscriptions
from agents.models import DeliveryStream, Endpoint
from fleetlm.agents_admin.buttons import Button, Outcome

SHOWN_ONCE: Final = "admin/agents/secret.html"

BATCH: Final = 500
"""Parked streams that are resumed in one transaction: their locks keep appends waiting."""

RESUME_SECONDS: Final = 20.0
"""How long one press of the button goes on; the operator presses again for the rest."""

OVERLAP_MAX: Final = 30 * 86_400


class RotateForm(forms.Form):
    """For how long receivers may go on with the old secret."""

    overlap_seconds = forms.FloatField(
        label="Overlap (seconds)",
        min_value=0,
        max_value=OVERLAP_MAX,
        help_text="For so long the old secret signs beside the new one. 0: it ends now, as it must if it has leaked.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["overlap_seconds"].initial = f"{settings.FLEETLM.agent_secret_overlap:g}"


def update(endpoint: Endpoint, *, private: dict[str, Any] | None = None, **changes: Any) -> None:
    """Change an agent's endpoint or a subscription. Raises `NotFound`."""
    if endpoint.agent_id is not None:
        registration.update_agent(endpoint.agent_id, private=private, **changes)
    else:
        subscriptions.update_subscription(endpoint.public_id, private=private, **changes)


def rotate(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """A new signing secret, shown on the answering page alone."""
    now, overlap = timezone.now(), float(given["overlap_seconds"])
    if endpoint.agent_id is not None:
        secret = registration.rotate_secret(endpoint.agent_id, now, overlap)
    else:
        secret = subscriptions.rotate_secret(endpoint.public_id, now, overlap)
    ends = now + timedelta(seconds=overlap) if overlap else None
    return Outcome("Rotated the signing secret.", SHOWN_ONCE, {"secret": secret, "old_ends": ends})


def disable(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """Call it no more."""
    update(endpoint, enabled=False)
    return Outcome("Disabled. Its streams keep their places.")


def enable(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """Call it again."""
    update(endpoint, enabled=True)
    return Outcome("Enabled. It gets what came in meanwhile.")


def close_breaker(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """Take it for well again."""
    endpoints.close_breaker(endpoint.pk)
    return Outcome("Closed the breaker. What waited for it is delivered now.")


def resume_all(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """Take up again what was given up, a batch to a transaction, for as long as an operator may wait."""
    ends, resumed = monotonic() + RESUME_SECONDS, 0
    parked = stream_queries.parked(endpoint).filter(parked_at__isnull=False).values_list("id", flat=True)
    while ids := list(parked[:BATCH]):
        resumed += operations.resume(DeliveryStream.objects.filter(id__in=ids))
        if monotonic() > ends:
            return Outcome(f"Resumed {resumed:,} streams; there are more, press again.")
    return Outcome(f"Resumed {resumed:,} parked streams.")


BUTTONS: Final = (
    Button(name="rotate", label="Rotate secret", act=rotate, form=RotateForm),
    Button(
        name="disable",
        label="Disable",
        act=disable,
        question="It is called no more, by any conversation, until it is enabled again. Calls under way end.",
        useful=lambda endpoint: endpoint.enabled,
        harmful=True,
    ),
    Button(name="enable", label="Enable", act=enable, useful=lambda endpoint: not endpoint.enabled),
    Button(
        name="close-breaker",
        label="Close breaker",
        act=close_breaker,
        question="Everything that waits for it is delivered at once, whether it is well or not.",
        useful=lambda endpoint: endpoint.opened_at is not None,
    ),
    Button(
        name="resume-all",
        label="Resume all parked",
        act=resume_all,
        question="Every stream that was given up makes its call again. Those that an operator paused stay paused.",
        useful=lambda endpoint: endpoint.backlog is None or endpoint.backlog.parked > 0,
    ),
)
