"""A model server that speaks OpenAI's chat completions, streamed: it asks for one tool, then says what came of it.

`python -m tests.e2e.model_stub PORT`
"""

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def deltas(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The answer, in pieces, as models give it: also the arguments of a tool come in pieces."""
    last = messages[-1]
    if last["role"] == "tool":
        yield from (
            {"content": word} for word in ("The carrier says: ", json.loads(last["content"])["status"], ".")
        )
        return
    call = {"index": 0, "id": "call-1", "type": "function"}
    yield {"tool_calls": [{**call, "function": {"name": "track_parcel", "arguments": ""}}]}
    for piece in ('{"num', 'ber": "4711"}'):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


class Model(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert {tool["function"]["name"] for tool in body["tools"]} == {"track_parcel", "get_a_person"}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for delta in deltas(body["messages"]):
            self.wfile.write(f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
