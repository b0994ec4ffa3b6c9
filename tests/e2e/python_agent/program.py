"""An agent for the tests, under whichever server: what it is told decides what it does. What it does it prints.

`python -m tests.e2e.python_agent.program SERVER PORT`, with the secret in the environment.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import uvicorn
from fleetlm_client.agent import Agent, Call, Gone

HOST = "127.0.0.1"
WORD_SECONDS = 0.02

orders = itertools.count(1)
attempts = itertools.count(1)
agent = Agent()
wsgi = agent.wsgi
"""For gunicorn, which takes a name without dots."""


def note(text: str) -> None:
    """Say what has happened, for the test to read."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def order(call: Call) -> str:
    """Work that must not be done twice."""
    time.sleep(0.2)
    return f"Order {next(orders)}"


async def story(call: Call) -> AsyncIterator[str]:
    """Goes on until it is stopped."""
    try:
        yield "Once "
        for number in itertools.count():
            await asyncio.sleep(WORD_SECONDS)
            yield f"{number} "
    finally:
        note("the story is closed")


def steps(call: Call) -> Iterator[str]:
    """The same in a thread."""
    try:
        yield "Once "
        for number in itertools.count():
            time.sleep(WORD_SECONDS)
            yield f"{number} "
    finally:
        note("the steps are closed")


async def tools(call: Call) -> AsyncIterator[Any]:
    """Texts with a tool between them."""
    yield "Let me look."
    yield {"type": "tool-input-available", "toolCallId": "t1", "toolName": "clock", "input": {"zone": "UTC"}}
    yield {"type": "tool-output-available", "toolCallId": "t1", "output": "noon"}
    yield "It is noon."


async def ten(call: Call) -> AsyncIterator[str]:
    """A stream that ends by itself."""
    for number in range(10):
        yield f"{number} "
        await asyncio.sleep(0.1)


def fails_once(call: Call) -> str:
    """Fails at its first attempt."""
    if next(attempts) == 1:
        raise RuntimeError("not yet")
    return "at last"


def gone(call: Call) -> str:
    """Has left for good."""
    raise Gone


async def echo(call: Call) -> str:
    """What everything else is answered by."""
    return f"You said: {call.text}"


SCRIPTS: dict[str, Callable[[Call], Any]] = {
    "order": order,
    "story": story,
    "steps": steps,
    "tools": tools,
    "ten": ten,
    "fail": fails_once,
    "gone": gone,
}


@agent
def answer(call: Call) -> Any:
    """What the first word asks for."""
    note(f"called {call.text}")
    return SCRIPTS.get(call.text.partition(" ")[0], echo)(call)


class Threads(ThreadingMixIn, WSGIServer):
    """The reference server of WSGI, with more than one thread."""

    daemon_threads = True


def main(server: str, port: int) -> None:
    """Serve it."""
    if server == "run":
        agent.run(port=port)
    elif server == "uvicorn":
        uvicorn.run(agent.asgi, host=HOST, port=port, log_level="warning")
    else:
        make_server(HOST, port, wsgi, Threads).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
