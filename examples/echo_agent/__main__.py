"""A whole agent in one file of plain Python: it answers every call with what the person said."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = os.environ.get("FLEETLM_WEBHOOK_SECRET", "")  # "whsec_…", shown once when the agent is registered
TOLERANCE_SECONDS = 300
NOT_SAID = ("system", "redaction")  # kinds of messages that nobody has said: not to be answered


def answer(call: dict[str, Any]) -> str:
    """What to say.

    `conversation` is the whole context, oldest first; this agent needs only the newest message that someone has said.
    """
    others = [message for message in call["conversation"] if message["sender_id"] != call["agent_id"]]
    heard = [message for message in others if message.get("kind") not in NOT_SAID]
    return f"You said: {heard[-1]['text']}" if heard else "Hello! Say something."


def is_genuine(headers: "Message[str, str]", body: bytes) -> bool:
    """Whether FleetLM signed this call with our secret, lately. See https://www.standardwebhooks.com."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE_SECONDS:
        return False
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    # Two signatures, separated by a space, while the secret is being rotated.
    return any(hmac.compare_digest(expected, given) for given in headers.get("webhook-signature", "").split())


class Agent(BaseHTTPRequestHandler):
    """One POST in, one JSON answer out. No state."""

    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if SECRET and not is_genuine(self.headers, body):
            self.reply(401, {"error": "bad signature"})
        else:
            self.reply(200, {"text": answer(json.loads(body))})

    def reply(self, status: int, value: dict[str, str]) -> None:
        """Send one JSON object."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: FleetLM records every attempt."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Agent).serve_forever()
