"""The smallest agent: a JSON answer from plain Python. Run it with `python agent.py --port 5000`."""

import argparse
import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOT_SAID = ("system", "redaction")  # kinds of messages that nobody has said: not to be answered


class Agent(BaseHTTPRequestHandler):
    """One call in, one answer out. No state."""

    def do_POST(self) -> None:
        """Answer what is new in the conversation."""
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        # Several messages may have come since the last call. Older ones, and our own, are there as context.
        new = [m for m in call["conversation"] if m["seq"] >= call["new_from_seq"]]
        heard = [
            m["text"] for m in new if m["sender_id"] != call["agent_id"] and m.get("kind") not in NOT_SAID
        ]
        # An empty text is a good answer too: there is nothing to say.
        answer = json.dumps({"text": f"You said: {' '.join(heard)}" if heard else ""}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    port = parser.parse_args().port
    # An agent may stop at any time: a call that it leaves unanswered is made again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ThreadingHTTPServer(("127.0.0.1", port), Agent).serve_forever()
