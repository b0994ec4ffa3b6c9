"""`/api/agents`: who is called, where and how."""

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest

from agents import registration
from agents.models import AgentEndpoint
from agents.rules import check_url
from conversations import rules
from conversations.append import timestamp
from conversations.errors import NotFound
from fleetlm.api import agent_forms as forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.participants import check_metadata
from fleetlm.api.schema import operation
from runtime.database import in_thread

ALL = "all"


def as_answer(endpoint: AgentEndpoint) -> dict[str, Any]:
    """An agent as clients see it: without its secrets."""
    return {
        "id": endpoint.agent_id,
        "url": endpoint.url,
        "display_name": endpoint.agent.display_name,
        "dialect": endpoint.dialect,
        "context": ALL if endpoint.context_messages is None else endpoint.context_messages,
        "debounce_ms": endpoint.debounce_ms,
        "enabled": endpoint.enabled,
        "metadata": endpoint.agent.metadata,
        "created_at": timestamp(endpoint.created_at),
        "updated_at": timestamp(endpoint.updated_at),
    }


class Agents(ApiView):
    """All agents."""

    @operation("Register an agent", body=forms.AgentForm, answers={201: forms.AgentCreatedAnswer})
    async def post(self, request: HttpRequest) -> Reply:
        """Have an agent called at `url`; the answer holds the signing secret, this once. 409 if it is
        registered."""
        self.principal.require_server("admin")
        form = self.body(forms.AgentForm)
        check_url(form.url)
        check_metadata(form.metadata)
        registered = await in_thread(_register, form)
        return Reply(as_answer(registered.endpoint) | {"secret": registered.secret}, 201)

    @operation("List agents", query=forms.AgentsQuery, answers={200: forms.AgentsAnswer})
    async def get(self, request: HttpRequest) -> Reply:
        """Agents by id, a page at a time."""
        self.principal.require_server("read")
        found = await in_thread(_list, query := self.query(forms.AgentsQuery))
        page = [as_answer(endpoint) for endpoint in found[: query.limit]]
        return Reply({"agents": page, "has_more": len(found) > query.limit})


class AgentDetail(ApiView):
    """One agent."""

    @operation("Get an agent", answers={200: forms.AgentAnswer})
    async def get(self, request: HttpRequest, agent_id: str) -> Reply:
        """The agent, without its secret."""
        self.principal.require_server("read")
        return Reply(as_answer(await in_thread(_get, rules.check_id(agent_id))))

    @operation("Change an agent", body=forms.AgentChange, answers={200: forms.AgentAnswer})
    async def patch(self, request: HttpRequest, agent_id: str) -> Reply:
        """Change where and how it is called; calls that are under way are not affected."""
        self.principal.require_server("admin")
        form = self.body(forms.AgentChange)
        changes = {
            name: value for name, value in msgspec.structs.asdict(form).items() if value is not msgspec.UNSET
        }
        if "url" in changes:
            check_url(changes["url"])
        check_metadata(changes.get("metadata"))
        if "context" in changes:
            changes["context_messages"] = _window(changes.pop("context"))
        endpoint = await in_thread(registration.update_agent, rules.check_id(agent_id), **changes)
        return Reply(as_answer(endpoint))

    @operation("Delete an agent", answers={204: None})
    async def delete(self, request: HttpRequest, agent_id: str) -> Reply:
        """Call it no more. It stays a participant, and what it said stays in the logs."""
        self.principal.require_server("admin")
        await in_thread(registration.delete_agent, rules.check_id(agent_id))
        return Reply(status=204)


def _window(context: int | str) -> int | None:
    return None if isinstance(context, str) else context


def _register(form: forms.AgentForm) -> registration.Registered:
    default = settings.FLEETLM.agent_context_messages
    context = default if isinstance(form.context, msgspec.UnsetType) else form.context
    return registration.register_agent(
        form.id,
        form.url,
        dialect=form.dialect,
        context_messages=_window(context),
        debounce_ms=form.debounce_ms,
        display_name=form.display_name,
        metadata=form.metadata,
    )


def _get(agent_id: str) -> AgentEndpoint:
    endpoint = AgentEndpoint.objects.select_related("agent").filter(agent_id=agent_id).first()
    if endpoint is None:
        raise NotFound("There is no agent with this id.", id=agent_id)
    return endpoint


def _list(query: forms.AgentsQuery) -> list[AgentEndpoint]:
    found = AgentEndpoint.objects.select_related("agent").order_by("agent_id")
    if query.after is not None:
        found = found.filter(agent_id__gt=query.after)
    return list(found[: query.limit + 1])
