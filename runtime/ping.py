"""A test call of an endpoint: is it there, does it take our signature, how long does it need? Nothing of it is stored."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
import orjson
from django.conf import settings

from agents import signing
from agents.calls import SUCCESSES
from agents.dialects import DIALECTS, Call, Request
from agents.door import Door, Patience
from agents.errors import AgentUnreachable, CallError, CallRefused, CallTimedOut
from agents.models import Endpoint
from agents.rules import ContextMessage
from conversations.rules import Limits
from runtime.calling import Keyed, Keys, make_door, open_keys, patience_for, private_headers

PING_SECONDS: Final = 30.0
"""The longest that a test call lasts; whoever asked for it waits."""

RESPONSE_BYTES: Final = 2_048

_PINGER: Final = "ping"


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came of it. `outcome` is of `agents.models.Attempt.Outcome`; `response` is how the body begins."""

    outcome: str
    status: int | None
    duration_ms: int
    error: str
    response: str

    @property
    def ok(self) -> bool:
        """Whether a real call would do."""
        return self.outcome in SUCCESSES


@dataclass(slots=True)
class _Exchange:
    started: float = field(default_factory=perf_counter)
    status: int | None = None
    body: bytearray = field(default_factory=bytearray)

    def note(self, data: bytes) -> None:
        room = RESPONSE_BYTES - len(self.body)
        if room > 0:
            self.body += data[:room]

    def ended(self, outcome: str, error: str = "") -> Pinged:
        milliseconds = round((perf_counter() - self.started) * 1000)
        return Pinged(outcome, self.status, milliseconds, error, self.body.decode(errors="replace"))


async def ping(endpoint: Endpoint) -> Pinged:
    """Call the endpoint once, as it stands, enabled or not. Never raises for what the other side does."""
    exchange = _Exchange()
    keyed = cast(Keyed, endpoint)
    try:
        now = datetime.now(UTC)
        keys = open_keys(keyed, now)
        async with make_door() as door:
            if endpoint.event:
                outcome = await _signed(door, endpoint, keys, now, exchange)
            else:
                outcome = await _asked(door, endpoint, keys, now, exchange)
    except CallError as error:
        return exchange.ended(error.outcome, str(error))
    return exchange.ended(outcome)


def _patience(endpoint: Endpoint) -> Patience:
    config = settings.FLEETLM
    usual = patience_for(cast(Keyed, endpoint)) or Patience(
        config.agent_timeout, config.agent_idle_timeout, config.agent_stream_timeout
    )
    return Patience(*(min(seconds, PING_SECONDS) for seconds in (usual.answer, usual.idle, usual.stream)))


async def _signed(door: Door, endpoint: Endpoint, keys: Keys, now: datetime, exchange: _Exchange) -> str:
    """`{"type": "ping"}`, signed: any 2xx says that it was understood."""
    ping_id = uuid4()
    said = {"type": _PINGER, "id": ping_id, "timestamp": now, "subscription_id": endpoint.public_id}
    body = orjson.dumps(said, option=orjson.OPT_UTC_Z)
    headers = {
        "accept": "*/*",
        **private_headers(keys.private),
        **signing.json_headers(keys.secrets, str(ping_id), now, body),
    }
    async with door.call(endpoint.url, headers, body, patience=_patience(endpoint)) as answer:
        exchange.status = status = answer.head.status
        exchange.note(await answer.snippet(RESPONSE_BYTES))
        if not 200 <= status < 300:
            raise CallRefused(f"The endpoint answered with status {status}.", status=status)
        return "accepted" if status == 204 else "answered"


async def _asked(door: Door, endpoint: Endpoint, keys: Keys, now: datetime, exchange: _Exchange) -> str:
    """One message of a user, `ping`, in the dialect of the agent; its answer is read to the end.

    It is a whole call, so that an agent that knows nothing of tests serves it like any other.
    """
    dialect = DIALECTS[endpoint.dialect]
    call = _call(endpoint, keys, now)
    request: Request = dialect.write(call)
    async with door.call(request.url, request.headers, request.body, patience=_patience(endpoint)) as answer:
        exchange.status = answer.head.status
        try:
            reader = dialect.reader(answer.head, _limits(), call)
        except CallError:
            exchange.note(await answer.snippet(RESPONSE_BYTES))
            raise
        try:
            async for data in answer.chunks():
                exchange.note(data)
                reader.feed(data)
                if reader.done:
                    break
        except (AgentUnreachable, CallTimedOut):
            if not reader.complete:
                raise
        reader.end()
        return "accepted" if reader.result() is None else "answered"


def _limits() -> Limits:
    config = settings.FLEETLM
    return Limits(config.text_bytes, config.content_bytes, config.json_depth)


def _call(endpoint: Endpoint, keys: Keys, now: datetime) -> Call:
    agent_id = endpoint.agent_id or ""
    key = f"{agent_id}:{_PINGER}"
    message = ContextMessage(str(uuid4()), 1, _PINGER, "text", "ping", "{}", "{}", None, now)
    people = [{"id": _PINGER, "kind": "user", "display_name": ""}]
    return Call(
        call_id=uuid4(),
        run_id=uuid4(),
        agent_id=agent_id,
        key=key,
        is_dm=True,
        epoch=uuid4(),
        messages=[message],
        new_from_seq=1,
        participants=[*people, {"id": agent_id, "kind": "agent", "display_name": ""}],
        reply_url=f"{settings.FLEETLM.base_url}/api/conversations/{key}/messages",
        secrets=keys.secrets,
        now=now,
        url=endpoint.url,
        options=_options(endpoint),
        api_key=keys.private.api_key,
        custom_headers=keys.private.headers,
        event=_PINGER,
    )


def _options(endpoint: Endpoint) -> Any:
    # Django reads 1e308, which Postgres writes out in full, as an integer of 309 digits; a claim reads a float.
    return orjson.loads(msgspec.json.encode(endpoint.options))
