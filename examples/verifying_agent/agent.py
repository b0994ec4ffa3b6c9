"""An agent that can be trusted with work that must be done once. `pip install standardwebhooks`, then:

FLEETLM_WEBHOOK_SECRET=whsec_… python agent.py --port 5000

It refuses calls that FleetLM did not sign, and does the work of a call that comes twice only once.
"""

import argparse
import itertools
import json
import os
import signal
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

# Several, separated by spaces: one process may serve several agents, and each agent has a secret of its own.
SECRETS = [Webhook(secret) for secret in os.environ.get("FLEETLM_WEBHOOK_SECRET", "").split()]
REMEMBERED = (
    10_000  # in memory, for an example; where it matters: a unique column in your database, for 3 days
)
NOT_SAID = ("system", "redaction")  # kinds of messages that nobody has said: no order

orders = itertools.count(1)


def answer(call: dict[str, Any]) -> dict[str, Any]:
    """Work that must not be done twice: every order gets a number."""
    if call.get("type") == "ping":  # a test call: no order
        return {"text": "pong"}
    new = [m for m in call["conversation"] if m["seq"] >= call["new_from_seq"]]
    heard = [m["text"] for m in new if m["sender_id"] != call["agent_id"] and m.get("kind") not in NOT_SAID]
    return {"text": f"Order {next(orders)}: {' '.join(heard)}" if heard else ""}


def is_genuine(headers: dict[str, str], body: bytes) -> bool:
    """Whether one of our secrets signed exactly these bytes in the last five minutes."""
    for secret in SECRETS:
        try:
            secret.verify(body, headers)
        except (WebhookVerificationError, ValueError):  # ValueError: a signature that is no signature at all
            continue
        return True
    return False


class Once:
    """The answer of each `webhook-id`.

    The same id is the same call again: FleetLM did not get the first answer. So it gets that answer once more. (Not 204,
    which would say that the answer comes by `reply_url`, and nobody would ever see it.)
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answers: OrderedDict[str, Future[dict[str, Any]]] = OrderedDict()

    def answer(self, call_id: str, call: dict[str, Any]) -> dict[str, Any]:
        """The answer to this call. One that comes while the first is still at work waits for it."""
        with self.lock:
            is_new = call_id not in self.answers
            future = self.answers.setdefault(call_id, Future())
            if len(self.answers) > REMEMBERED:
                self.answers.popitem(last=False)
        if is_new:
            try:
                future.set_result(answer(call))
            except Exception as error:
                # Work that failed was not done: forget the call, so that the retry tries again.
                with self.lock:
                    self.answers.pop(call_id, None)
                future.set_exception(error)
                raise
        return future.result()


once = Once()


class Agent(BaseHTTPRequestHandler):
    """One call in, one JSON answer out."""

    timeout = 30  # seconds: a connection on which nothing comes must not hold up the end

    def do_POST(self) -> None:
        """Look at the signature first, over the bytes as they came, before anything of them is believed."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_genuine(dict(self.headers), body):
            self.reply(401, {"error": "bad signature"})
        else:
            self.reply(200, once.answer(self.headers["webhook-id"], json.loads(body)))

    def reply(self, status: int, value: dict[str, Any]) -> None:
        """Send one JSON object."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Waits at its end for the work under way: what is begun is finished and answered."""

    daemon_threads = False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    port = parser.parse_args().port
    if not SECRETS:
        sys.exit("Set FLEETLM_WEBHOOK_SECRET to the secret of your agent (whsec_…).")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Server(("127.0.0.1", port), Agent) as server:
        server.serve_forever()
