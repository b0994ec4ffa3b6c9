"""The support desk in a real browser: `support_desk.mjs` against a stack with auth, which it may break meanwhile."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp
import pytest

from runtime.ports import free_port
from tests.e2e.javascript import ROOT, built_sdk, node, run_in_browser
from tests.e2e.rest import Api
from tests.e2e.stack import Stack, plain_stack

HOST = "127.0.0.1"
EXAMPLE = ROOT / "examples" / "support-desk"


@pytest.fixture
def desk_port() -> int:
    return free_port(HOST)


@pytest.fixture
def guarded_alone(desk_port: int) -> Iterator[Stack]:
    """A web process that asks for tokens, and a dispatcher; nothing of other tests."""
    origin = f"http://{HOST}:{desk_port}"
    with plain_stack(FLEETLM_AUTH="required", FLEETLM_ALLOWED_ORIGINS=origin) as stack:
        stack.add_dispatcher()
        stack.await_work()
        yield stack


class Control(BaseHTTPRequestHandler):
    """`POST /kill`, `/restart`: of the stack's web process, for the script in the browser."""

    stack: Stack

    def do_POST(self) -> None:
        if self.path == "/kill":
            self.stack.kill("web0")
        else:
            self.stack.restart("web0")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def control(guarded_alone: Stack) -> Iterator[str]:
    handler = type("ControlOfStack", (Control,), {"stack": guarded_alone})
    # One thread for all requests: a process of the stack ends with the thread that has started it.
    server = HTTPServer((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def api_key(guarded_alone: Stack) -> str:
    scopes = [word for scope in ("read", "write", "admin") for word in ("--scope", scope)]
    return guarded_alone.manage("createapikey", "desk", *scopes).split()[-1]


@contextlib.contextmanager
def desk_server(stack: Stack, port: int, **settings: str) -> Iterator[str]:
    """The example's own server; its URL. What it prints is shown with a test that fails."""
    built_sdk()
    given = {"PORT": str(port), "FLEETLM_URL": stack.web[0], **settings}
    with subprocess.Popen([node(), "server.mjs"], cwd=EXAMPLE, env={**os.environ, **given}) as process:
        yield f"http://{HOST}:{port}"
        process.terminate()


@pytest.fixture
def desk(guarded_alone: Stack, api_key: str, desk_port: int) -> Iterator[str]:
    """Its tokens are short-lived, so that all pages get through several."""
    with desk_server(guarded_alone, desk_port, FLEETLM_API_KEY=api_key, TOKEN_SECONDS="20") as url:
        yield url


def test_customers_the_bot_and_the_desk_through_everything(
    guarded_alone: Stack, control: str, api_key: str, desk: str
) -> None:
    run_in_browser("support_desk.mjs", DESK=desk, BASE=guarded_alone.web[0], CONTROL=control, API_KEY=api_key)


@pytest.fixture
def desk_with_model(stack: Stack, desk_port: int) -> Iterator[str]:
    model_port = free_port(HOST)
    with subprocess.Popen([sys.executable, "-m", "tests.e2e.model_stub", str(model_port)], cwd=ROOT) as model:
        with desk_server(stack, desk_port, MODEL_URL=f"http://{HOST}:{model_port}") as url:
            yield url
        model.terminate()


async def test_a_model_may_think_for_the_bot(desk_with_model: str, api: Api) -> None:
    async with aiohttp.ClientSession() as http:
        key = await case_of(http, desk_with_model)
        asked = await api.send(key, key.replace("case-", "customer-"), "Where is it?")
        page = await api.call("GET", f"conversations/{key}/messages?after={asked['seq']}&wait=25")
        (answer,) = page["messages"]
    assert answer["text"] == "The carrier says: Handed to the carrier."
    (tool,) = [part for part in answer["content"]["parts"] if part["type"] == "tool-track_parcel"]
    assert tool["input"] == {"number": "4711"}
    assert tool["output"]["number"] == "4711"


async def case_of(http: aiohttp.ClientSession, url: str) -> str:
    """The conversation of a new customer, once the desk is open."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with http.post(f"{url}/session") as answer:
                    if answer.status == 200:
                        return str((await answer.json())["key"])
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
