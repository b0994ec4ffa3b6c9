"""The bodies, queries and answers of `/api/agents`; see `fleetlm.api.forms`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agents.rules import CONTEXT_MESSAGES_MAX, DEBOUNCE_MAX_MS
from fleetlm.api.forms import Answer, Form, Id, PageSize, Title

Url = Annotated[str, Meta(max_length=2_000, pattern=r"^https?://[^\x00-\x20]+$")]
Context = Annotated[int, Meta(ge=1, le=CONTEXT_MESSAGES_MAX)] | Literal["all"]
Debounce = Annotated[int, Meta(ge=0, le=DEBOUNCE_MAX_MS)]
Dialect = Literal["webhook"]


class AgentForm(Form):
    """An agent to register. `context` is how many of the newest messages a call carries; the server's default
    is 50."""

    id: Id
    url: Url
    display_name: Title = ""
    dialect: Dialect = "webhook"
    context: Context | UnsetType = UNSET
    debounce_ms: Debounce = 0
    metadata: dict[str, Any] | None = None


class AgentChange(Form):
    """What may be changed of an agent. One that is not `enabled` is not called until it is again."""

    url: Url | UnsetType = UNSET
    display_name: Title | UnsetType = UNSET
    dialect: Dialect | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    debounce_ms: Debounce | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class AgentAnswer(Answer):
    """An agent: who it is and how it is called. Its secret is never shown again."""

    id: str
    url: str
    display_name: str
    dialect: str
    context: int | str
    debounce_ms: int
    enabled: bool
    metadata: dict[str, Any]
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


ALL: list[type[msgspec.Struct]] = [
    AgentForm,
    AgentChange,
    AgentAnswer,
    AgentCreatedAnswer,
    AgentsQuery,
    AgentsAnswer,
]
