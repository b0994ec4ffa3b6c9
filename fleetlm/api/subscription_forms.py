"""The bodies, queries and answers of `/api/subscriptions`; see `fleetlm.api.forms`."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fleetlm.api.agent_forms import (
    ApiKey,
    Debounce,
    Headers,
    HealthAnswer,
    InFlight,
    SecretAnswer,
    Timeout,
    Url,
)
from fleetlm.api.forms import Answer, Form, Id, PageSize, Title

Event = Literal["message.created", "inbox.updated", "broadcast.created"]
ConversationKind = Literal["dm", "group", "broadcast"]
MessageKind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
KeyPrefix = Annotated[str, Meta(max_length=257, pattern=r"^[A-Za-z0-9._@:-]*$")]


class SubscriptionForm(Form):
    """A URL that is to be told of an event, from the next one on.

    Filters, each of them narrower: conversations whose key begins with `key_prefix`; those that `participant_id` takes part
    in (of `inbox.updated`: this participant's inbox alone); those of these kinds; of `message.created` and
    `broadcast.created`, messages of these kinds. They cannot be changed later.
    """

    event: Event
    url: Url
    description: Title = ""
    key_prefix: KeyPrefix = ""
    participant_id: Id | None = None
    conversation_kinds: Annotated[list[ConversationKind], Meta(max_length=3)] = msgspec.field(
        default_factory=list
    )
    message_kinds: Annotated[list[MessageKind], Meta(max_length=50)] = msgspec.field(default_factory=list)
    headers: Headers = msgspec.field(default_factory=dict)
    api_key: ApiKey = None
    timeout_seconds: Timeout = None
    debounce_ms: Debounce = None
    max_in_flight: InFlight = None
    enabled: bool = True


class SubscriptionChange(Form):
    """What may be changed of a subscription. One that is not `enabled` is told nothing until it is again.

    `headers` are replaced as a whole; `api_key: null` takes the key away.
    """

    url: Url | UnsetType = UNSET
    description: Title | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    api_key: ApiKey | UnsetType = UNSET
    timeout_seconds: Timeout | UnsetType = UNSET
    debounce_ms: Debounce | UnsetType = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class SubscriptionAnswer(Answer):
    """A subscription: what it is told, and where. Its secrets are never shown again."""

    id: str
    event: str
    url: str
    description: str
    key_prefix: str
    participant_id: str | None
    conversation_kinds: list[str]
    message_kinds: list[str]
    header_names: list[str]
    timeout_seconds: float | None
    debounce_ms: int | None
    max_in_flight: int | None
    enabled: bool
    health: HealthAnswer
    secrets: list[SecretAnswer]
    created_at: str
    updated_at: str


class SubscriptionCreatedAnswer(SubscriptionAnswer):
    """A new subscription, with the secret that its calls are signed with: keep it, this is the only time it is shown."""

    secret: str


class SubscriptionsQuery(Form):
    """Which subscriptions, oldest first. `after` is the last id of the page before."""

    event: Event | None = None
    after: Annotated[str, Meta(max_length=64)] | None = None
    limit: PageSize = 50


class SubscriptionsAnswer(Answer):
    """A page of subscriptions."""

    subscriptions: list[SubscriptionAnswer]
    has_more: bool


ALL: list[type[msgspec.Struct]] = [
    SubscriptionForm,
    SubscriptionChange,
    SubscriptionAnswer,
    SubscriptionCreatedAnswer,
    SubscriptionsQuery,
    SubscriptionsAnswer,
]
