"""What of a conversation a call carries: the newest messages, by number or by a budget of tokens. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from agents.rules import CONTEXT_MESSAGES_MAX, ContextMessage, context_from_seq

BYTES_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 4
"""What a message costs besides its words: its role, its name and the marks around it."""

CALL_KIND: Final = "tool_call"
RESULT_KIND: Final = "tool_result"


def estimate_tokens(message: ContextMessage) -> int:
    """About how many tokens a message is to a model: its UTF-8 bytes / 4, rounded up, and 4 more.

    An estimate, for no tokenizer is right for every model: it is near for English, high for most code and for
    other scripts. Text and content are not added up, since a streamed answer's content holds its text once more.
    """
    size = len(message.text.encode())
    if message.content != "{}":
        size = max(size, len(message.content.encode()))
    return -(-size // BYTES_PER_TOKEN) + MESSAGE_TOKENS


def from_seq(cursor: int, upper_seq: int, *, messages: int | None, tokens: int | None) -> int:
    """The first seq to read for a call: `select` then takes from what was read.

    `messages` is the newest N (None: all, up to the maximum). A budget of `tokens` goes first: it can never hold more
    messages than it has times the cost of an empty one.
    """
    if tokens is not None:
        messages = min(tokens // MESSAGE_TOKENS + 1, CONTEXT_MESSAGES_MAX)
    return context_from_seq(cursor, upper_seq, messages)


def select(
    messages: Sequence[ContextMessage], cursor: int, *, tokens: int | None = None
) -> list[ContextMessage]:
    """What a call carries of the messages that were read for it, oldest first.

    - Every new message (after the cursor) is carried, whatever it costs.
    - Older ones are carried newest first while the budget lasts, and none beyond the first that does not fit.
    - No tool result is left without its call: an old result goes when its call has gone; for a new result its call,
      if it was read, is carried as well, even beyond the budget.
    """
    first_new = next((at for at, m in enumerate(messages) if m.seq > cursor), len(messages))
    start = 0 if tokens is None else _affordable_from(messages, first_new, tokens)
    return _with_whole_pairs(messages, start, first_new)


def _affordable_from(messages: Sequence[ContextMessage], first_new: int, tokens: int) -> int:
    left = tokens - sum(map(estimate_tokens, messages[first_new:]))
    for at in range(first_new - 1, -1, -1):
        left -= estimate_tokens(messages[at])
        if left < 0:
            return at + 1
    return 0


def _with_whole_pairs(messages: Sequence[ContextMessage], start: int, first_new: int) -> list[ContextMessage]:
    called: set[str] = set()
    kept: list[ContextMessage] = []
    missing: set[str] = set()  # calls of new results
    for at in range(start, len(messages)):
        message = messages[at]
        called |= called_ids(message)
        orphaned = result_ids(message) - called
        if orphaned and at < first_new:
            continue
        missing |= orphaned
        kept.append(message)
    return [*_callers(messages[:start], missing), *kept] if missing else kept


def _callers(older: Iterable[ContextMessage], missing: set[str]) -> list[ContextMessage]:
    return [message for message in older if not missing.isdisjoint(called_ids(message))]


def called_ids(message: ContextMessage) -> set[str]:
    """The ids of the tool calls that a message makes: of kind `tool_call`, or parts of a streamed answer."""
    if message.kind == RESULT_KIND or not _may_hold_tools(message):
        return set()
    return tool_call_ids(orjson.loads(message.content))


def result_ids(message: ContextMessage) -> set[str]:
    """The ids of the tool calls that a message answers without making them: kind `tool_result`."""
    if message.kind != RESULT_KIND or not _may_hold_tools(message):
        return set()
    return tool_call_ids(orjson.loads(message.content))


def tool_call_ids(content: Any) -> set[str]:
    """The ids in a message's content: `tool_call_id` or `toolCallId`, its own or of its parts."""
    if not isinstance(content, dict):
        return set()
    parts = content.get("parts")
    holders = [content, *(parts if isinstance(parts, list) else [])]
    found = {_tool_call_id(holder) for holder in holders if isinstance(holder, dict)}
    return found - {""}


def _tool_call_id(holder: dict[str, Any]) -> str:
    value = holder.get("tool_call_id", holder.get("toolCallId", ""))
    return value if isinstance(value, str) else ""


def _may_hold_tools(message: ContextMessage) -> bool:
    return "oolCallId" in message.content or "ool_call_id" in message.content
