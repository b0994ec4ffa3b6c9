"""The rules of deliveries: what a call carries, when it is made again, and what its answer says. Pure: no Django, no I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson

from agents.errors import AnswerInvalid
from conversations import rules
from conversations.errors import FleetLMError, InvalidRequest

JITTER: Final = 0.2
"""Waits before a retry are spread by this share, up and down, so that retries do not come in step."""

NEW_MESSAGES_PER_CALL: Final = 1_000
"""A stream that has fallen further behind catches up in several calls."""

MESSAGES_PER_EVENT: Final = 100
"""The most messages of one call of a subscription."""

CONTEXT_MESSAGES_MAX: Final = 10_000
"""The most messages of a context; `all` means all of them up to here."""

ANSWER_MESSAGES_MAX: Final = 100
"""The most messages of one answer."""

DEBOUNCE_MAX_MS: Final = 60_000
"""The longest that an endpoint may wait for more messages before a call, in milliseconds."""

RETRY_AFTER_MAX: Final = 3_600.0
"""The longest wait, in seconds, that an agent can ask for with `Retry-After`."""

HEADERS_MAX: Final = 32
HEADER_CHARACTERS_MAX: Final = 4_096

# RFC 9110, 5.6.2 and 5.5; of values only what every server takes.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_OUR_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
    }
    | {"trailer", "transfer-encoding", "upgrade"}
)
_OUR_PREFIXES: Final = ("webhook-", "content-", "proxy-")


_EMPTY_OBJECT: Final = orjson.Fragment(b"{}")


class ContextMessage(msgspec.Struct, frozen=True):
    """One message as an agent gets it. `content` and `metadata` are JSON text, as Postgres keeps them."""

    id: str
    seq: int
    sender_id: str
    kind: str
    text: str
    content: str
    metadata: str
    reply_to: int | None
    created_at: datetime


def message_as_dict(message: ContextMessage) -> dict[str, Any]:
    """A message as calls and events carry it, for orjson."""
    return {
        "id": message.id,
        "seq": message.seq,
        "sender_id": message.sender_id,
        "kind": message.kind,
        "text": message.text,
        "content": _stored_json(message.content),
        "metadata": _stored_json(message.metadata),
        "reply_to": message.reply_to,
        "created_at": message.created_at,
    }


def _stored_json(stored: str) -> orjson.Fragment:
    return _EMPTY_OBJECT if stored == "{}" else orjson.Fragment(stored)


@dataclass(frozen=True, slots=True)
class Draft:
    """One message of an agent's answer, checked, not yet appended."""

    text: str = ""
    kind: str = "text"
    content: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None


def check_url(url: str) -> str:
    """The URL itself, if an agent can be called there: http or https, a host, and no password in it."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        valid = valid and min(url) > " "  # no line breaks, which `urlsplit` would silently leave out
    except ValueError:
        valid = False
    if not valid:
        raise InvalidRequest("url must be an http:// or https:// URL with a host.", field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest(
            "url must not hold a user or password; check the signature instead.", field="url"
        )
    return url


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `InvalidRequest` for custom headers that cannot be sent, or that say what the server itself has to say."""
    if len(headers) > HEADERS_MAX:
        raise InvalidRequest(f"headers holds more than {HEADERS_MAX}.", field="headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidRequest("headers holds a name twice; their case makes no difference.", field="headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidRequest("headers holds a name that is none of a header.", field="headers")
        if name.lower() in _OUR_HEADERS or name.lower().startswith(_OUR_PREFIXES):
            raise InvalidRequest(f"The header {name} is the server's own.", field="headers")
        if len(value) > HEADER_CHARACTERS_MAX or not _HEADER_VALUE.fullmatch(value):
            raise InvalidRequest(
                f"The value of the header {name} must be 1 to {HEADER_CHARACTERS_MAX} printable ASCII characters, "
                "without line breaks.",
                field="headers",
            )


def retry_delay(schedule: Sequence[float], failures: int, random: float) -> float:
    """Seconds to wait after the `failures`-th failure in a row; `random` is in [0, 1) and spreads it by ±20
    %."""
    base = schedule[min(failures, len(schedule)) - 1]
    return base * (1 - JITTER + 2 * JITTER * random)


def next_retry(
    schedule: Sequence[float],
    failures: int,
    random: float,
    *,
    failing_seconds: float,
    give_up_after: float,
    retry_after: float | None = None,
) -> float | None:
    """Seconds until the next attempt, or None when the stream has failed for too long and is to be parked.

    `failing_seconds` is the time since the first failure in a row. An agent's `Retry-After` can only make it
    later.
    """
    if failing_seconds >= give_up_after:
        return None
    delay = retry_delay(schedule, failures, random)
    return max(delay, min(retry_after or 0.0, RETRY_AFTER_MAX))


def context_from_seq(cursor: int, upper_seq: int, window: int | None) -> int:
    """The first seq of a call's context: the newest `window` messages (None: all), and never less than all
    new ones."""
    window = min(window or CONTEXT_MESSAGES_MAX, CONTEXT_MESSAGES_MAX)
    return max(1, min(cursor + 1, upper_seq - window + 1))


def new_from_seq(messages: Iterable[ContextMessage], cursor: int, agent_id: str) -> int | None:
    """The first message after the cursor that is not the agent's own, or None: then there is nothing to call
    it for.

    A system message or a redaction alone is no reason for a call either, but is new if a call is made.
    """
    fresh = [m for m in messages if m.seq > cursor and m.sender_id != agent_id]
    if not any(rules.counts_as_unread(m.kind) for m in fresh):
        return None
    return fresh[0].seq


def only_agents_spoke(
    messages: Iterable[ContextMessage], cursor: int, participants: Iterable[Mapping[str, str]]
) -> bool:
    """Whether what is new was said by agents alone, as far as the named participants tell."""
    people = {one["id"] for one in participants if one["kind"] != "agent"}
    fresh = (m for m in messages if m.seq > cursor and rules.counts_as_unread(m.kind))
    return all(m.sender_id not in people for m in fresh)


def may_take_another(in_flight: int, free: int) -> bool:
    """Whether an endpoint with this many calls under way may have one more of the dispatcher's free places.

    An endpoint may hold no more places than are free: alone it gets half of them, n slow ones get 1/(n+1)
    each, and there is always room for one more endpoint. (Choudhury and Hahne, Dynamic Queue Length
    Thresholds, 1998.)
    """
    return in_flight < free


def parse_answer(value: Any, limits: rules.Limits) -> tuple[Draft, ...]:
    """The messages of an answer `{"text": …}` or `{"messages": [{text, kind?, content?, metadata?}]}`.

    Messages that are empty are left out: the agent has nothing to say. Raises `AnswerInvalid`.
    """
    if not isinstance(value, dict) or ("text" in value) == ("messages" in value):
        raise AnswerInvalid('The answer is neither {"text": …} nor {"messages": […]}.')
    items = value.get("messages", [value])
    if not isinstance(items, list):
        raise AnswerInvalid("messages is not a list.")
    if len(items) > ANSWER_MESSAGES_MAX:
        raise AnswerInvalid(f"The answer holds more than {ANSWER_MESSAGES_MAX} messages.")
    drafts = (_parse_draft(item, limits) for item in items)
    return tuple(draft for draft in drafts if draft.text or draft.content)


def _parse_draft(item: Any, limits: rules.Limits) -> Draft:
    if not isinstance(item, dict):
        raise AnswerInvalid("A message of the answer is not an object.")
    text, kind = item.get("text", ""), item.get("kind", "text")
    content, metadata = (item[name] if item.get(name) is not None else {} for name in ("content", "metadata"))
    if not isinstance(text, str) or not isinstance(kind, str):
        raise AnswerInvalid("text and kind of a message must be strings.")
    if not isinstance(content, dict) or not isinstance(metadata, dict):
        raise AnswerInvalid("content and metadata of a message must be objects.")
    if not rules.counts_as_unread(kind):
        raise AnswerInvalid(f"A message of kind {kind} is made by REST, not by an answer.")
    try:
        _check_draft(text, kind, content, metadata, limits)
    except FleetLMError as error:
        raise AnswerInvalid(str(error)) from None
    return Draft(text, kind, content, metadata)


def _check_draft(text: str, kind: str, content: Any, metadata: Any, limits: rules.Limits) -> None:
    rules.check_text(text, limits)
    rules.check_kind(kind)
    rules.check_json(content, "content", limits.depth)
    rules.check_json(metadata, "metadata", limits.depth)
    if (content or metadata) and len(orjson.dumps(content)) + len(
        orjson.dumps(metadata)
    ) > limits.content_bytes:
        raise AnswerInvalid(f"content and metadata of a message are over {limits.content_bytes} bytes.")
