"""Runs the blocks of one page, in order, in one directory, as a reader would who types them from top to bottom."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from runtime.ports import free_port
from tests.e2e.javascript import built_sdk, node
from tests.e2e.printed import Printed
from tests.e2e.snippets import Block
from tests.e2e.stack import HOST, ROOT

BLOCK_SECONDS: Final = 60.0
"""Only a block that fails takes so long."""
LATE_SECONDS: Final = 10.0
"""How long after the page's last block a background block may take to print what it must."""
LOOK_SECONDS: Final = 0.02

_SERVER = re.compile(r"\b(127\.0\.0\.1|localhost):4000\b")
_PORT = re.compile(r"\b(500\d|3000|5173)\b")

PREAMBLE: Final = """\
set -aeuo pipefail
if [ -f "$PAGE/.state" ]; then . "$PAGE/.state"; fi
trap '{ export -p; printf "cd %q\\n" "$PWD"; } >"$PAGE/.state"' EXIT
curl() {
  local code=0
  if [[ " $* " == *" -N "* ]]; then set -- --max-time 2 "$@"; fi
  command curl -sS --fail-with-body "$@" || code=$?
  if [ $code = 28 ] && [[ " $* " == *" -N "* ]]; then return 0; fi
  return $code
}
stand_in() { command python "$REPOSITORY/tests/e2e/installers.py" "$@"; }
pip() { stand_in pip "$@"; }
npm() { stand_in npm "$@"; }
npx() { stand_in npx "$@"; }
make() { stand_in make "$@"; }
"""
ASYNC: Final = """\
import ast, asyncio, inspect, sys
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
if inspect.iscoroutine(running := eval(code, {"__name__": "__main__"})):
    asyncio.run(running)
"""
WEBSOCKET: Final = 'import WebSocket from "ws";\nglobalThis.WebSocket ??= WebSocket;\n'


class BlockError(Exception):
    """A block did not do what its page says."""


class PageSession:
    """One page's directory, environment, ports and background programs."""

    def __init__(
        self, directory: Path, environment: dict[str, str], open_url: str, guarded_url: str | None
    ) -> None:
        self.directory = directory
        self.environment = {
            **environment,
            "PAGE": str(directory),
            "REPOSITORY": str(ROOT),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]]),
        }
        self.open_url, self.guarded_url = open_url, guarded_url
        self.ports: dict[str, int] = {}
        self.background: list[tuple[Block, Printed]] = []
        self.said: dict[str, str] = {}
        self._furnish()

    def _furnish(self) -> None:
        """The directory looks like the root of the checkout."""
        for entry in ROOT.iterdir():
            if entry.name not in {".git", ".venv", "package.json", "site"}:
                (self.directory / entry.name).symlink_to(entry)
        (self.directory / ".venv/bin").mkdir(parents=True)
        (self.directory / ".venv/bin/activate").touch()
        (self.directory / "package.json").write_text(json.dumps({"type": "module", "private": True}))
        (self.directory / ".async.py").write_text(ASYNC)
        (self.directory / ".websocket.js").write_text(WEBSOCKET)

    def run(self, block: Block) -> None:
        """Run a block, or save it if it's a file. Raises `BlockError`."""
        if block.title:
            self._save_titled(block, block.title)
        elif block.directives.background:
            self._start(block)
        else:
            self._run_to_its_end(block)
        if block.directives.check:
            self._check(block)

    def _save_titled(self, block: Block, name: str) -> None:
        path = self.save(name, self.here(block, block.program))
        if block.language in {"js", "ts"}:
            built_sdk()
        if block.language == "ts":
            self._compile(path)

    def save(self, name: str, text: str) -> Path:
        """Write a file of the page; never one of the repository."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self.directory.resolve()) or path.is_symlink():
            raise BlockError(f"{name} is a file of the repository")
        path.write_text(text)
        return path

    def here(self, block: Block, text: str) -> str:
        """A text with the ports that this page's programs have."""
        url = self.guarded_url if "guarded" in block.directives.flags else self.open_url
        if url is None:
            raise BlockError(f"{block.place}: there is no guarded server")
        text = _SERVER.sub(lambda found: f"{found[1]}:{url.rpartition(':')[2]}", text)
        return _PORT.sub(lambda found: str(self.port(found[0])), text)

    def port(self, written: str) -> int:
        """The free port that stands for one that the page names."""
        if written not in self.ports:
            self.ports[written] = free_port(HOST)
        return self.ports[written]

    def _command(self, block: Block) -> str:
        """The bash line that runs it."""
        name, flags = f"block_{block.line}", block.directives.flags
        if block.language in {"sh", "bash"}:
            return self.here(block, block.program)
        text = block.program
        if "continues" in flags:
            if block.language not in self.said:
                raise BlockError(f"{block.place} continues nothing")
            text = self.said[block.language] + text
        self.said[block.language] = text
        if block.language == "python":
            path = self.save(f"{name}.py", self.here(block, text))
            runner = [".async.py"] if "async" in flags else []
            return shlex.join(["exec", "python", *(str(self.directory / one) for one in runner), str(path)])
        built_sdk()
        path = self.save(f"{name}.{block.language}", self.here(block, text))
        if block.language == "ts":
            path = self._compile(path)
        sockets = ["--import", str(self.directory / ".websocket.js")] if "websocket" in flags else []
        return shlex.join(["exec", node(), *sockets, str(path)])

    def _compile(self, path: Path) -> Path:
        done = subprocess.run(
            [
                "node_modules/.bin/esbuild",
                str(path),
                f"--outfile={path.with_suffix('.js')}",
                "--log-level=warning",
            ],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BlockError(done.stderr)
        return path.with_suffix(".js")

    def _launch(self, script: str) -> Printed:
        return Printed(
            subprocess.Popen(
                ["bash", "-c", PREAMBLE + script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def _start(self, block: Block) -> None:
        self._replace(block)
        running = self._launch(self._command(block))
        self.background.append((block, running))
        if block.directives.port is not None:
            self._await_port(block, running, self.port(str(block.directives.port)))

    def _replace(self, block: Block) -> None:
        """End what listens on the block's port already: a reader has tried one, now they try the other."""
        for earlier, running in self.background:
            if earlier.directives.port is not None and earlier.directives.port == block.directives.port:
                end(running)

    def _await_port(self, block: Block, running: Printed, port: int) -> None:
        deadline = time.monotonic() + BLOCK_SECONDS
        while not listens(port):
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise BlockError(
                    f"{block.place} does not listen on port {block.directives.port}:\n{running.text()}"
                )
            time.sleep(LOOK_SECONDS)

    def _run_to_its_end(self, block: Block) -> None:
        running = self._launch(self._command(block))
        try:
            if not block.directives.until:
                self._expect_end(block, running, fails="fails" in block.directives.flags)
            self._expect_texts(block, running, BLOCK_SECONDS)
        finally:
            end(running)

    def _check(self, block: Block) -> None:
        running = self._launch(self.here(block, block.directives.check))
        try:
            self._expect_end(block, running, fails=False)
        finally:
            end(running)

    def _expect_end(self, block: Block, running: Printed, *, fails: bool) -> None:
        code = running.await_end(BLOCK_SECONDS)
        self._expect(code is not None and (code != 0) == fails, block, running, f"ended with {code}")

    def _expect_texts(self, block: Block, running: Printed, seconds: float) -> None:
        for text in (*block.directives.until, *block.directives.prints):
            came = running.await_text(self.here(block, text), seconds)
            self._expect(came, block, running, f"did not print {text!r}")

    def _expect(self, holds: bool, block: Block, running: Printed, what: str) -> None:
        if not holds:
            raise BlockError(f"{block.place} {what}\n{block.text}---\n{running.text()}")

    def finish(self) -> None:
        """See that the background blocks have printed what they must, and that none has failed."""
        for block, running in self.background:
            self._expect_texts(block, running, LATE_SECONDS)
            self._expect(
                running.ended or running.process.poll() in {None, 0},
                block,
                running,
                "failed in the background",
            )

    def stop(self) -> None:
        """End what still runs."""
        for _, running in self.background:
            end(running)


def end(running: Printed) -> None:
    """End a block with all that it has started."""
    running.ended = True
    for signum, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        try:
            os.killpg(running.process.pid, signum)
        except ProcessLookupError:
            break
        if running.await_end(seconds) is not None:
            break
    running.close()


def listens(port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
