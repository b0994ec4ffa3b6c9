"""The AI SDK's `useChat` on a conversation, in a real browser: `use_chat.mjs` on the built example."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.ports import free_port
from tests.e2e.javascript import ROOT, node, run_in_browser
from tests.e2e.rest import Api
from tests.e2e.stack import Stack

HOST = "127.0.0.1"
EXAMPLE = ROOT / "examples" / "use-chat"
BUILD_SECONDS = 120


class Files(SimpleHTTPRequestHandler):
    """The files of a directory."""

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """The built example, served; its URL."""
    vite = str(ROOT / "node_modules" / "vite" / "bin" / "vite.js")
    build = [node(), vite, "build", "--logLevel", "warn", "--outDir", str(tmp_path), "--emptyOutDir"]
    done = subprocess.run(
        build, cwd=EXAMPLE, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    server = ThreadingHTTPServer((HOST, 0), partial(Files, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def slow_agent() -> Iterator[str]:
    """An agent that says word by word what it was told; its URL."""
    port = free_port(HOST)
    program = [sys.executable, str(ROOT / "examples/streaming_agent/agent.py"), "--port", str(port)]
    with subprocess.Popen(program) as process:
        yield f"http://{HOST}:{port}/"
        process.terminate()


async def test_an_answer_is_streamed_resumed_and_stopped(
    stack: Stack, api: Api, page: str, slow_agent: str, fresh: str
) -> None:
    agent = f"slow-{fresh}"
    await api.call("POST", "agents", {"id": agent, "url": slow_agent})
    await asyncio.to_thread(run_in_browser, "use_chat.mjs", PAGE=page, BASE=stack.web[0], AGENT=agent)
