"""The agent: a handler, and what FleetLM expects around it."""

import json
import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

from .answers import Answer, problem
from .asgi import AsgiApp
from .call import Call, CallInvalid
from .handlers import AnyHandler, Handler
from .memory import MemoryStore, Store
from .run import Run
from .server import run, serving
from .signatures import TOLERANCE_SECONDS, Secrets, SignatureInvalid, check_signature, keys
from .wsgi import WsgiApp

SECRET_VARIABLE = "FLEETLM_WEBHOOK_SECRET"  # noqa: S105 (its name, not its value)
BODY_LIMIT = 16 * 1024 * 1024
THREADS = 64

log = logging.getLogger("fleetlm_client.agent")


class Agent:
    """Serves a handler as an agent of FleetLM: `agent.asgi`, `agent.wsgi`, or `agent.run()`.

    The handler takes a `Call` and returns what to say, or yields it piece by piece: see `answers.whole` and `chunks.Stream`.
    It may be sync (it then runs in one of `threads` threads) or async.

    - `secret`: one, several separated by spaces, or a list (several agents, or one that is being rotated). Without it, the
      environment's `FLEETLM_WEBHOOK_SECRET`; without that too, signatures are not looked at.
    - `remember`: where the answers to calls are kept, so that a call which comes twice is worked on once; memory if not given.
    - `body_limit`: bytes of one call.

    Raises `ValueError` for a secret that is none.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        secret: Secrets | None = None,
        remember: Store | None = None,
        body_limit: int = BODY_LIMIT,
        threads: int = THREADS,
    ) -> None:
        self.handler = handler
        self.body_limit = body_limit
        self.asgi = AsgiApp(self)
        """To be mounted in Starlette, FastAPI or Django, or served by uvicorn."""
        self.wsgi = WsgiApp(self.asgi)
        """To be mounted in Flask, or served by gunicorn."""
        self._keys = _keys(secret)
        self._store = MemoryStore() if remember is None else remember
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fleetlm-agent")
        self._runs: dict[str, Run] = {}

    def __call__(self, handler: AnyHandler) -> AnyHandler:
        """Make a function the handler: `@agent`."""
        self.handler = handler
        return handler

    def run(self, host: str = "127.0.0.1", port: int = 5000) -> None:
        """Serve until SIGINT or SIGTERM; what is being answered then is answered to its end."""
        run(self.asgi, host, port)

    def serving(self, host: str = "127.0.0.1", port: int = 0) -> AbstractAsyncContextManager[str]:
        """Serve while this context lasts, for tests and for programs that do more; its URL, whose port is free if it is 0."""
        return serving(self.asgi, host, port)

    def admit(self, body: bytes, headers: Mapping[str, str]) -> Call | Answer:
        """The call, if it is genuine and asks for work; otherwise what to answer at once."""
        try:
            if self._keys:
                check_signature(body, headers, self._keys, TOLERANCE_SECONDS, time.time())
            call = Call.from_json(json.loads(body))
        except SignatureInvalid as error:
            return problem(401, "bad_signature", str(error))
        except (CallInvalid, UnicodeDecodeError, json.JSONDecodeError) as error:
            return problem(400, "invalid_call", str(error))
        if call.type == "ping":
            return Answer(200, body=b'{"text":"pong"}')
        return call

    async def run_of(self, call: Call) -> Run:
        """The run that answers this call: the one at work if it is the same call again, otherwise a new one."""
        while (run := self._runs.get(call.id)) is not None and run.is_stopping:
            await run.stopped()
        return run if run is not None else self._start(call)

    def _start(self, call: Call) -> Run:
        if self.handler is None:
            raise RuntimeError("This agent has no handler: Agent(handler), or @agent above a function.")
        run = Run(self.handler, call, self._store, self._threads)
        if call.id:
            self._runs[call.id] = run
            run.task.add_done_callback(lambda _: self._runs.pop(call.id, None))
        return run


def _keys(secret: Secrets | None) -> list[bytes]:
    if secret is None:
        secret = os.environ.get(SECRET_VARIABLE) or None
    if secret is None:
        log.warning("No secret: whoever reaches this agent may call it.")
        return []
    return keys(secret)
