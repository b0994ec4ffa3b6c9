"""`/api/agents`: who is called, where and how."""

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest

from agents import registration
from agents.dialects import DIALECTS
from agents.models import AgentEndpoint
from agents.rules import check_headers, check_url
from agents.secrets import Private
from conversations import rules
from conversations.models import Participant
from fleetlm.api import agent_forms as forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.endpoints import check_object, common, given, take_private
from fleetlm.api.participants import check_metadata
from fleetlm.api.schema import operation
from runtime.database import in_thread

ALL = "all"


def as_answer(endpoint: AgentEndpoint) -> dict[str, Any]:
    """An agent as clients see it: without its secrets. Synchronous."""
    participant: Participant = endpoint.agent  # type: ignore[assignment]  # an agent's endpoint has one
    return {
        "id": participant.id,
        "display_name": participant.display_name,
        "metadata": participant.metadata,
        "dialect": endpoint.dialect,
        "options": endpoint.options,
        "context": _context(endpoint),
        "trigger": endpoint.trigger,
        "while_running": endpoint.while_running,
    } | common(endpoint)


def _context(endpoint: AgentEndpoint) -> int | str | dict[str, int]:
    if endpoint.context_tokens is not None:
        return {"tokens": endpoint.context_tokens}
    return ALL if endpoint.context_messages is None else endpoint.context_messages


class Agents(ApiView):
    """All agents."""

    @operation("Register an agent", body=forms.AgentForm, answers={201: forms.AgentCreatedAnswer})
    async def post(self, request: HttpRequest) -> Reply:
        """Have an agent called at `url`; the answer holds the signing secret, this once. 409 if it is
        registered."""
        self.principal.require_server("admin")
        form = self.body(forms.AgentForm)
        _check(given(form))
        DIALECTS[form.dialect].check_options(form.options)
        return Reply(await in_thread(_register, form), 201)

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
        """The agent, without its secrets."""
        self.principal.require_server("read")
        return Reply(as_answer(await in_thread(registration.find_agent, rules.check_id(agent_id))))

    @operation("Change an agent", body=forms.AgentChange, answers={200: forms.AgentAnswer})
    async def patch(self, request: HttpRequest, agent_id: str) -> Reply:
        """Change where and how it is called; calls that are under way are not affected."""
        self.principal.require_server("admin")
        changes = given(self.body(forms.AgentChange))
        _check(changes)
        answer = await in_thread(_change, rules.check_id(agent_id), changes)
        self.runtime.gateway.wake_dispatchers()
        return Reply(answer)

    @operation("Delete an agent", answers={204: None})
    async def delete(self, request: HttpRequest, agent_id: str) -> Reply:
        """Call it no more. It stays a participant, and what it said stays in the logs."""
        self.principal.require_server("admin")
        await in_thread(registration.delete_agent, rules.check_id(agent_id))
        return Reply(status=204)


def _check(changes: dict[str, Any]) -> None:
    """Raise `InvalidRequest` or `TooLarge` for what cannot be kept, whatever else the agent is."""
    if "url" in changes:
        check_url(changes["url"])
    if "headers" in changes:
        check_headers(changes["headers"])
    if "options" in changes:
        check_object(changes["options"], "options")
    check_metadata(changes.get("metadata"))


def _windows(context: int | str | forms.TokenBudget) -> dict[str, int | None]:
    if isinstance(context, forms.TokenBudget):
        return {"context_messages": None, "context_tokens": context.tokens}
    return {"context_messages": None if isinstance(context, str) else context, "context_tokens": None}


def _register(form: forms.AgentForm) -> dict[str, Any]:
    default = settings.FLEETLM.agent_context_messages
    registered = registration.register_agent(
        form.id,
        form.url,
        display_name=form.display_name,
        metadata=form.metadata,
        private=Private(form.headers, form.api_key),
        dialect=form.dialect,
        options=form.options,
        debounce_ms=form.debounce_ms,
        trigger=form.trigger,
        while_running=form.while_running,
        max_in_flight=form.max_in_flight,
        timeout_seconds=form.timeout_seconds,
        enabled=form.enabled,
        **_windows(default if isinstance(form.context, msgspec.UnsetType) else form.context),
    )
    return as_answer(registered.endpoint) | {"secret": registered.secret}


def _change(agent_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    if "dialect" in changes or "options" in changes:
        known = registration.find_agent(agent_id)
        dialect = DIALECTS[changes.get("dialect", known.dialect)]
        dialect.check_options(changes.get("options", known.options))
    if "context" in changes:
        changes |= _windows(changes.pop("context"))
    private = take_private(changes)
    return as_answer(registration.update_agent(agent_id, private=private, **changes))


def _list(query: forms.AgentsQuery) -> list[AgentEndpoint]:
    found = AgentEndpoint.objects.select_related("agent").order_by("agent_id")
    if query.after is not None:
        found = found.filter(agent_id__gt=query.after)
    return list(found[: query.limit + 1])
