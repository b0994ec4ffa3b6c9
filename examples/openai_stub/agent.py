"""A stub of an OpenAI-compatible chat server: no model, it echoes. Run it with `python agent.py --port 5000`.

It stands in for vLLM, Ollama, LM Studio, a gateway or OpenAI itself, and answers `/chat/completions`, whole or streamed. Its
key is `sk-stub`, or what STUB_API_KEY says.
"""

import argparse
import hmac
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

API_KEY = os.environ.get("STUB_API_KEY", "sk-stub")
SECONDS_PER_WORD = 0.05


def words(messages: list[dict[str, Any]]) -> list[str]:
    """What the model says: the last message of a person, again."""
    heard = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "nothing")
    if isinstance(heard, list):  # content may be a list of parts
        heard = " ".join(part.get("text", "") for part in heard)
    return [f"{word} " for word in f"You said: {heard}".split()]


def completion(model: str, said: list[str]) -> dict[str, Any]:
    """The whole answer as one object."""
    message = {"role": "assistant", "content": "".join(said).strip()}
    return _object("chat.completion", model, [{"index": 0, "message": message, "finish_reason": "stop"}]) | {
        "usage": usage(said)
    }


def chunks(model: str, said: list[str], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """The answer in pieces: the role, each word, why it ended, and how much it was if that was asked for."""

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _object("chat.completion.chunk", model, [choice])

    yield chunk({"role": "assistant", "content": ""})
    for word in said:
        time.sleep(SECONDS_PER_WORD)
        yield chunk({"content": word})
    yield chunk({}, "stop")
    if with_usage:
        yield _object("chat.completion.chunk", model, []) | {"usage": usage(said)}


def usage(said: list[str]) -> dict[str, int]:
    """Tokens, as if a word were one."""
    return {"prompt_tokens": 0, "completion_tokens": len(said), "total_tokens": len(said)}


def _object(kind: str, model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-stub",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": choices,
    }


class Chat(BaseHTTPRequestHandler):
    """The one endpoint."""

    def do_POST(self) -> None:
        """Answer, or say as OpenAI does what is wrong."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.path.endswith("/chat/completions"):
            return self.refuse(404, "There is only /chat/completions.", None)
        if not hmac.compare_digest(
            self.headers.get("authorization", "").encode(), f"Bearer {API_KEY}".encode()
        ):
            return self.refuse(401, "Incorrect API key provided.", "invalid_api_key")
        request = json.loads(body)
        if not request.get("model") or not request.get("messages"):
            return self.refuse(400, "You must provide a model and messages.", None)
        said = words(request["messages"])
        if request.get("stream"):
            return self.stream(request, said)
        return self.reply(200, completion(request["model"], said))

    def stream(self, request: dict[str, Any], said: list[str]) -> None:
        """Send the pieces as Server-Sent Events; the stream ends with its connection (HTTP/1.0)."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        try:
            for chunk in chunks(request["model"], said, with_usage=with_usage):
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            self.log_message("the caller hung up")

    def refuse(self, status: int, message: str, code: str | None) -> None:
        """An error in OpenAI's form."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self.reply(status, {"error": error})

    def reply(self, status: int, value: dict[str, Any]) -> None:
        """Send one JSON object."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ThreadingHTTPServer(("127.0.0.1", port), Chat).serve_forever()
