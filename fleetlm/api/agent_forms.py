"""The bodies, queries and answers of `/api/agents`; see `fleetlm.api.forms`. What subscriptions share is here as well."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agents.rules import CONTEXT_MESSAGES_MAX, DEBOUNCE_MAX_MS
from fleetlm.api.forms import Answer, Form, Id, PageSize, Title

Url = Annotated[str, Meta(max_length=2_000, pattern=r"^https?://[^\x00-\x20]+$")]
Debounce = Annotated[int, Meta(ge=0, le=DEBOUNCE_MAX_MS)] | None
InFlight = Annotated[int, Meta(ge=1, le=10_000)] | None
Timeout = Annotated[float, Meta(ge=1, le=600)] | None
Dialect = Literal["webhook", "ag-ui", "openai"]
Trigger = Literal["all", "mention", "none"]
WhileRunning = Literal["queue", "interrupt"]
Headers = dict[str, str]
ApiKey = Annotated[str, Meta(min_length=1, max_length=4_096, pattern=r"^[\x21-\x7e]+$")] | None


class TokenBudget(Form):
    """About as many of the newest messages as fit into so many tokens."""

    tokens: Annotated[int, Meta(ge=1, le=10_000_000)]


Context = Annotated[int, Meta(ge=1, le=CONTEXT_MESSAGES_MAX)] | Literal["all"] | TokenBudget


class AgentForm(Form):
    """An agent to register. `context` is what of a conversation a call carries: a number of the newest messages (the
    server's default is 50), `all`, or a budget of tokens.

    `options` are the dialect's. `headers` and `api_key` go with every call, and are never shown again.
    """

    id: Id
    url: Url
    display_name: Title = ""
    metadata: dict[str, Any] | None = None
    dialect: Dialect = "webhook"
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    api_key: ApiKey = None
    headers: Headers = msgspec.field(default_factory=dict)
    context: Context | UnsetType = UNSET
    debounce_ms: Debounce = None
    trigger: Trigger = "all"
    while_running: WhileRunning = "queue"
    max_in_flight: InFlight = None
    timeout_seconds: Timeout = None
    enabled: bool = True


class AgentChange(Form):
    """What may be changed of an agent. One that is not `enabled` is not called until it is again.

    `headers`, `options` and `metadata` are replaced as a whole; `api_key: null` takes the key away.
    """

    url: Url | UnsetType = UNSET
    display_name: Title | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    dialect: Dialect | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    api_key: ApiKey | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    debounce_ms: Debounce | UnsetType = UNSET
    trigger: Trigger | UnsetType = UNSET
    while_running: WhileRunning | UnsetType = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    timeout_seconds: Timeout | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class HealthAnswer(Answer):
    """How calls fare there. `failing`: the last ones have failed, `failures` in a row; `open`: so many that only a probe
    is let through now and then; `disabled`: none is made."""

    state: Literal["ok", "failing", "open", "disabled", "never_called"]
    failures: int
    last_success_at: str | None
    last_failure_at: str | None
    last_error: str
    opened_at: str | None
    next_probe_at: str | None
    disabled_reason: str


class SecretAnswer(Answer):
    """A signing secret, without the secret itself. `expires_at` is null for the newest."""

    id: str
    expires_at: str | None


class AgentAnswer(Answer):
    """An agent: who it is and how it is called. Its secrets are never shown again."""

    id: str
    url: str
    display_name: str
    metadata: dict[str, Any]
    dialect: str
    options: dict[str, Any]
    header_names: list[str]
    context: int | str | TokenBudget
    debounce_ms: int | None
    trigger: str
    while_running: str
    max_in_flight: int | None
    timeout_seconds: float | None
    enabled: bool
    health: HealthAnswer
    secrets: list[SecretAnswer]
    created_at: str
    updated_at: str


class AgentCreatedAnswer(AgentAnswer):
    """A new agent, with the secret that its calls are signed with: keep it, this is the only time it is
    shown."""

    secret: str


class AgentsQuery(Form):
    """Which agents, by id. `after` is the last id of the page before."""

    after: Annotated[str, Meta(max_length=128, pattern=r"^[^\x00]*$")] | None = None
    limit: PageSize = 50


class AgentsAnswer(Answer):
    """A page of agents."""

    agents: list[AgentAnswer]
    has_more: bool


class RotateForm(Form):
    """For how many seconds the old secret still signs beside the new one; a day, unless the server says otherwise."""

    overlap_seconds: Annotated[float, Meta(ge=0, le=30 * 86_400)] | None = None


class RotatedAnswer(Answer):
    """The new secret, this once. `expires_at`: until when the ones before sign as well; null if they have ended."""

    secret: str
    expires_at: str | None


class PingAnswer(Answer):
    """What a test call came to. `response` is how the answer's body begins."""

    ok: bool
    outcome: str
    status: int | None
    duration_ms: int
    error: str
    response: str


ALL: list[type[msgspec.Struct]] = [
    TokenBudget,
    AgentForm,
    AgentChange,
    HealthAnswer,
    SecretAnswer,
    AgentAnswer,
    AgentCreatedAnswer,
    AgentsQuery,
    AgentsAnswer,
    RotateForm,
    RotatedAnswer,
    PingAnswer,
]
