"""`/api/subscriptions`: which URLs are told of what."""

from typing import Any, Final

import msgspec
from django.http import HttpRequest

from agents import subscriptions
from agents.models import Subscription
from agents.rules import check_headers, check_url
from agents.secrets import Private
from conversations.errors import InvalidRequest
from fleetlm.api import subscription_forms as forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.endpoints import common, given, subscription_uuid, take_private
from fleetlm.api.schema import operation
from runtime.database import in_thread

FILTERS: Final = ("event", "key_prefix", "participant_id", "conversation_kinds", "message_kinds")
"""What a subscription is told of. It never changes: what it has got so far would otherwise have no meaning."""


def as_answer(subscription: Subscription) -> dict[str, Any]:
    """A subscription as clients see it: without its secrets."""
    return {
        "id": str(subscription.public_id),
        "event": subscription.event,
        "description": subscription.description,
        "key_prefix": subscription.key_prefix,
        "participant_id": subscription.participant_id or None,
        "conversation_kinds": subscription.conversation_kinds,
        "message_kinds": subscription.message_kinds,
    } | common(subscription)


class Subscriptions(ApiView):
    """All subscriptions."""

    @operation(
        "Subscribe to an event",
        body=forms.SubscriptionForm,
        answers={201: forms.SubscriptionCreatedAnswer},
    )
    async def post(self, request: HttpRequest) -> Reply:
        """Have a URL told of an event, from now on; the answer holds the signing secret, this once."""
        self.principal.require_server("admin")
        form = self.body(forms.SubscriptionForm)
        check_url(form.url)
        check_headers(form.headers)
        _check_filters(form)
        return Reply(await in_thread(_subscribe, form), 201)

    @operation("List subscriptions", query=forms.SubscriptionsQuery, answers={200: forms.SubscriptionsAnswer})
    async def get(self, request: HttpRequest) -> Reply:
        """Subscriptions, oldest first, a page at a time."""
        self.principal.require_server("read")
        found = await in_thread(_list, query := self.query(forms.SubscriptionsQuery))
        page = [as_answer(subscription) for subscription in found[: query.limit]]
        return Reply({"subscriptions": page, "has_more": len(found) > query.limit})


class SubscriptionDetail(ApiView):
    """One subscription."""

    @operation("Get a subscription", answers={200: forms.SubscriptionAnswer})
    async def get(self, request: HttpRequest, subscription_id: str) -> Reply:
        """The subscription, without its secrets."""
        self.principal.require_server("read")
        return Reply(
            as_answer(await in_thread(subscriptions.find_subscription, subscription_uuid(subscription_id)))
        )

    @operation(
        "Change a subscription", body=forms.SubscriptionChange, answers={200: forms.SubscriptionAnswer}
    )
    async def patch(self, request: HttpRequest, subscription_id: str) -> Reply:
        """Change where it goes, and how. What it is told of cannot be changed."""
        self.principal.require_server("admin")
        changes = given(self._change())
        if "url" in changes:
            check_url(changes["url"])
        if "headers" in changes:
            check_headers(changes["headers"])
        private = take_private(changes)
        changed = await in_thread(
            subscriptions.update_subscription, subscription_uuid(subscription_id), private=private, **changes
        )
        self.runtime.gateway.wake_dispatchers()
        return Reply(as_answer(changed))

    def _change(self) -> forms.SubscriptionChange:
        try:
            return self.body(forms.SubscriptionChange)
        except msgspec.ValidationError as error:
            for name in FILTERS:
                if f"unknown field `{name}`" in str(error):
                    raise InvalidRequest(
                        f"{name} of a subscription cannot be changed; make another one and delete this.",
                        field=name,
                    ) from None
            raise

    @operation("Delete a subscription", answers={204: None})
    async def delete(self, request: HttpRequest, subscription_id: str) -> Reply:
        """Tell it nothing more."""
        self.principal.require_server("admin")
        await in_thread(subscriptions.unsubscribe, subscription_uuid(subscription_id))
        return Reply(status=204)


def _check_filters(form: forms.SubscriptionForm) -> None:
    """Raise `InvalidRequest` for filters that would let nothing through, or that mean nothing."""
    kinds = set(form.conversation_kinds)
    if form.event == "broadcast.created" and kinds - {"broadcast"}:
        raise InvalidRequest("broadcast.created tells of broadcasts only.", field="conversation_kinds")
    if form.event != "broadcast.created" and "broadcast" in kinds:
        raise InvalidRequest("Broadcasts are told of by broadcast.created.", field="conversation_kinds")
    if form.event == "inbox.updated" and form.message_kinds:
        raise InvalidRequest("inbox.updated carries no messages.", field="message_kinds")


def _subscribe(form: forms.SubscriptionForm) -> dict[str, Any]:
    subscribed = subscriptions.subscribe(
        form.event,
        form.url,
        private=Private(form.headers, form.api_key),
        description=form.description,
        key_prefix=form.key_prefix,
        participant_id=form.participant_id or "",
        conversation_kinds=sorted(set(form.conversation_kinds)),
        message_kinds=sorted(set(form.message_kinds)),
        timeout_seconds=form.timeout_seconds,
        debounce_ms=form.debounce_ms,
        max_in_flight=form.max_in_flight,
        enabled=form.enabled,
    )
    return as_answer(subscribed.subscription) | {"secret": subscribed.secret}


def _list(query: forms.SubscriptionsQuery) -> list[Subscription]:
    found = Subscription.objects.order_by("id")
    if query.event is not None:
        found = found.filter(event=query.event)
    if query.after is not None:
        last = subscriptions.find_subscription(subscription_uuid(query.after))
        found = found.filter(id__gt=last.id)
    return list(found[: query.limit + 1])
