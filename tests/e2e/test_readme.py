"""The README as typed: its curl lines, its browser snippet under Node, its two agents."""

import json
import re
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.ports import free_port
from tests.e2e.javascript import HERE, node
from tests.e2e.stack import ROOT, Stack

README = (ROOT / "README.md").read_text()
PATIENCE = 20.0


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", README, re.M | re.S)
    assert found, title
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def bash(script: str, base: str) -> str:
    """Run a block of the README; curl's own failures and HTTP errors fail it, an endless stream is cut off."""
    strict = textwrap.dedent(
        """\
        set -euo pipefail
        curl() {
          local code=0
          command curl -sS --fail-with-body --max-time 3 "$@" || code=$?
          [ $code = 28 ] && [[ " $* " == *" -N "* ]] && return 0
          return $code
        }
        """
    )
    done = subprocess.run(
        ["bash", "-c", strict + script.replace("http://127.0.0.1:4000", base)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def history(base: str, key: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{base}/api/conversations/{key}/messages") as answer:
        messages: list[dict[str, Any]] = json.load(answer)["messages"]
        return messages


def await_text(base: str, key: str, sender_id: str, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(m["sender_id"] == sender_id and m["text"] == text for m in history(base, key)):
        assert time.monotonic() < deadline, history(base, key)
        time.sleep(0.05)


def test_the_five_minutes_work_as_typed(stack: Stack) -> None:
    scripts = blocks(section("Five minutes"), "sh")
    assert len(scripts) == 5
    output = "\n".join(bash(script, stack.web[0]) for script in scripts)
    again = bash(scripts[2], stack.web[0])
    assert '"deduplicated":true' in again
    assert "event: message" in output
    assert re.search(r'"mention_count":[12]', output), (
        "one of alice, and one more once the echo has said it too"
    )
    await_text(stack.web[0], "alice:echo-bot", "echo-bot", "You said: hello")


def node_has_sockets() -> bool:
    found = subprocess.run(
        ["node", "--print", "typeof WebSocket"], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return found.stdout.strip() == "function"


def test_the_browser_snippet_works(stack: Stack) -> None:
    node()
    snippet, for_node_20 = blocks(section("In the browser"), "js")
    snippet = snippet.replace("127.0.0.1:4000", stack.web[0].removeprefix("http://"))
    front = "" if node_has_sockets() else for_node_20
    program = f"{front}{snippet}\nsetTimeout(() => process.exit(0), 1500);\n"
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", program],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "stored at" in done.stdout, done.stderr
    assert "alice: hello" in done.stdout


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Any]:
    """Start a program from its source text; ended with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], source: str, name: str) -> None:
        (tmp_path / name).write_text(source)
        running.append(subprocess.Popen([*command, str(tmp_path / name)]))

    yield start
    for program in running:
        program.terminate()
        program.wait(10)


@pytest.mark.parametrize(("language", "name"), [("python", "agent.py"), ("js", "agent.mjs")])
def test_the_agents_answer(stack: Stack, programs: Any, fresh: str, language: str, name: str) -> None:
    command = [sys.executable] if language == "python" else [node()]
    port = str(free_port("127.0.0.1"))
    programs(command, blocks(section("An agent"), language)[0].replace("5000", port), name)
    register = blocks(section("An agent"), "sh")[0].replace("5000", port)
    agent = f"shipping-bot-{fresh}"
    assert "whsec_" in bash(register.replace("shipping-bot", agent), stack.web[0])
    bash(
        f"curl -X POST http://127.0.0.1:4000/api/conversations/alice:{agent}/messages "
        """-H 'Content-Type: application/json' -d '{"sender_id": "alice", "text": "hi"}'""",
        stack.web[0],
    )
    await_text(stack.web[0], f"alice:{agent}", agent, "alice, you said: hi")
