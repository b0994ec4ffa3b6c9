"""The dialect `openai`: any server that speaks OpenAI's `/chat/completions`, such as vLLM, Ollama or a gateway.

https://platform.openai.com/docs/api-reference/chat. Options: `model`, `system_prompt`, `temperature`, `max_tokens`,
`top_p`, `stop`, `stream` (true unless told otherwise), and `extra`, an object whose fields go into the body as they
are (`tools`, `response_format`, `stream_options`, …). The call is not signed: the server is not ours, and the API key says who
calls. `stream_options` is not sent by itself, since some servers refuse it; usage is read wherever it comes.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from agents.dialects import payloads
from agents.dialects.base import Call, Reader, Request
from agents.dialects.headers import headers
from agents.dialects.openai_deltas import Deltas, whole
from agents.dialects.options import NUMBER, OBJECT, TEXT, TEXTS, WHOLE, YES_OR_NO, check
from agents.dialects.readers import StreamReader, WholeReader, check_status, decoder_for
from agents.dialects.turns import Turn, turns
from agents.door import Head
from agents.rules import Draft
from conversations.errors import InvalidRequest
from conversations.rules import Limits

PATH: Final = "/chat/completions"
ACCEPT: Final = "text/event-stream, application/json"

_OPTIONS: Final = {
    "model": TEXT,
    "system_prompt": TEXT,
    "temperature": NUMBER,
    "max_tokens": WHOLE,
    "top_p": NUMBER,
    "stop": TEXTS,
    "stream": YES_OR_NO,
    "extra": OBJECT,
}
_SENT_AS_THEY_ARE: Final = ("model", "temperature", "max_tokens", "top_p", "stop")
_NOT_EXTRA: Final = ("messages", "stream")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_LENGTH: Final = 64


class OpenAI:
    """See `agents.dialects.base.Dialect`."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """See the module. `extra` may not hold `messages` or `stream`."""
        check(options, _OPTIONS)
        for name in _NOT_EXTRA:
            if name in (options.get("extra") or {}):
                raise InvalidRequest(f"options.extra may not hold {name}.", field="options")

    def write(self, call: Call) -> Request:
        """The context as chat messages."""
        options = call.options
        messages = [message for turn in turns(call) for message in _messages(turn)]
        if options.get("system_prompt"):
            messages.insert(0, {"role": "system", "content": options["system_prompt"]})
        body = dict(options.get("extra") or {})
        body |= {name: options[name] for name in _SENT_AS_THEY_ARE if options.get(name) is not None}
        body |= {"messages": messages, "stream": options.get("stream") is not False}
        return Request(completions_url(call.url), headers(call, ACCEPT), orjson.dumps(body))

    def reader(self, head: Head, limits: Limits, call: Call | None = None) -> Reader:
        """200: a stream if its type says so, otherwise one JSON completion."""
        check_status(head, 200)
        if head.is_stream:
            return StreamReader(decoder_for(head), Deltas(), limits, head.status)
        return WholeReader(partial(_parse, limits=limits, status=head.status), head.status)


def completions_url(url: str) -> str:
    """Where to post: the URL itself if its path is that of chat completions, else with that path added."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return url if path.endswith(PATH) else parts._replace(path=path + PATH).geturl()


def user_name(name: str) -> str:
    """A participant's name in the characters and length that OpenAI takes; may be empty."""
    return _NOT_IN_NAMES.sub("_", name).strip("_")[:_NAME_LENGTH]


def _messages(turn: Turn) -> list[dict[str, Any]]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if name := user_name(turn.name):
        message["name"] = name
    if turn.calls:
        message["content"] = turn.text or None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.calls
        ]
    return [
        message,
        *({"role": "tool", "tool_call_id": r.call_id, "content": r.text} for r in turn.results),
    ]


def _parse(body: bytes, *, limits: Limits, status: int) -> tuple[Draft, ...]:
    # One completion is a stream of one delta: it takes the same way.
    reader = StreamReader(_Single(), Deltas(), limits, status)
    reader.feed(orjson.dumps(whole(payloads.load(body))))
    return reader.result()


class _Single:
    """A decoder for one payload, given at once."""

    def feed(self, data: bytes) -> list[str]:
        return [data.decode()]

    def end(self) -> list[str]:
        return []
