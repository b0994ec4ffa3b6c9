"""An agent whose answer is seen while it is being written. Run it with `python agent.py --port 5000`.

It streams Server-Sent Events in the vocabulary of the AI SDK's UI message stream:
https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS_PER_WORD = 0.1  # stands in for a model that thinks
NOT_SAID = ("system", "redaction")  # kinds of messages that nobody has said: not to be answered


def words(call: dict[str, Any]) -> Iterator[str]:
    """What to say, bit by bit."""
    new = [m for m in call["conversation"] if m["seq"] >= call["new_from_seq"]]
    heard = [m["text"] for m in new if m["sender_id"] != call["agent_id"] and m.get("kind") not in NOT_SAID]
    for word in f"You said: {' '.join(heard)}".split() if heard else []:
        yield f"{word} "
        time.sleep(SECONDS_PER_WORD)


class Agent(BaseHTTPRequestHandler):
    """One call in, one stream out.

    `http.server` speaks HTTP/1.0 unless it is told otherwise: the stream ends when the connection does, so that no
    chunk has to be framed by hand.
    """

    timeout = 30  # seconds: a connection on which nothing comes must not hold up the end

    def do_POST(self) -> None:
        """Stream the answer."""
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")  # this is what makes it a stream
        self.end_headers()
        try:
            self.stream(call)
        except (BrokenPipeError, ConnectionResetError):
            # FleetLM hung up: somebody cancelled, or said something new. What was said so far is kept.
            self.log_message("stopped")

    def stream(self, call: dict[str, Any]) -> None:
        """A text is started, grows and ends. A message may hold several, each with an id of its own."""
        self.event({"type": "start"})
        self.event({"type": "text-start", "id": "1"})
        for word in words(call):
            self.event({"type": "text-delta", "id": "1", "delta": word})
        self.event({"type": "text-end", "id": "1"})
        # A stream that stops without these two has broken off, and the call is made again.
        self.event({"type": "finish"})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, chunk: dict[str, str]) -> None:
        """Send one chunk now: `wfile` keeps nothing back."""
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())


class Server(ThreadingHTTPServer):
    """Waits at its end for the answers under way."""

    daemon_threads = False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Server(("127.0.0.1", port), Agent) as server:
        server.serve_forever()
