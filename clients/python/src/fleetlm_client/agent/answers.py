"""What a handler may give back, and the HTTP answer that says so. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; what is remembered of a call, to be given again."""

    status: int
    content_type: str = JSON_TYPE
    body: bytes = b""
    retry_after: int | None = None
    """Seconds; said only with a status that is retried."""


class Later:
    """Give this back (the class or an instance) to say: taken, and I will post to `call.reply_url` myself."""


class Gone(Exception):
    """Raise this to say that the agent is gone for good: FleetLM disables it."""


class RetryLater(Exception):
    """Raise this to be called again, but not before `after` seconds (FleetLM waits up to an hour)."""

    def __init__(self, after: float) -> None:
        super().__init__(f"to be called again after {after} s")
        self.after = after


def whole(value: Any) -> Answer:
    """The answer for what a handler has returned.

    Text; None (nothing to say); a dict as FleetLM takes it, with `text` or `messages`, or one message with `kind`, `content`,
    `metadata`; a list of texts and messages; `Later`. Raises `TypeError` for anything else.
    """
    if value is Later or isinstance(value, Later):
        return Answer(204)
    return Answer(200, body=encode(_said(value)))


def failed(error: BaseException) -> Answer:
    """The answer for what a handler has raised. It names the error's class, not its words: they may hold secrets."""
    if isinstance(error, Gone):
        return problem(410, "gone", "The agent is gone for good.")
    if isinstance(error, RetryLater):
        answer = problem(503, "retry_later", "The agent asks to be called again later.")
        return Answer(503, body=answer.body, retry_after=max(0, round(error.after)))
    return problem(500, "agent_failed", f"The agent has failed: {type(error).__name__}.")


def problem(status: int, code: str, message: str) -> Answer:
    """An error, in the shape of FleetLM's own."""
    return Answer(status, body=encode({"error": {"code": code, "message": message}}))


def encode(value: Any) -> bytes:
    """JSON in UTF-8. Raises `TypeError` or `ValueError` for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _said(value: Any) -> dict[str, Any]:
    if value is None:
        return {"text": ""}
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, Mapping):
        return _one_of_text_and_messages(dict(value))
    if isinstance(value, (list, tuple)):
        return {"messages": [_message(one) for one in value]}
    raise TypeError(f"A handler returns text, a dict, a list, None or Later, not {type(value).__name__}.")


def _one_of_text_and_messages(value: dict[str, Any]) -> dict[str, Any]:
    if "messages" in value:
        return value
    return _message(value)


def _message(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, Mapping) and ("text" in value or "content" in value):
        return {"text": "", **value}
    raise TypeError("A message is text, or a dict with text or content.")
