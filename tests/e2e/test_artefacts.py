"""What is published, as its users get it: built, installed in an empty project, running its README's first example."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.ports import free_port
from tests.e2e.javascript import ROOT, built_sdk, node
from tests.e2e.snippets import blocks

SECONDS = 240
START_SECONDS = 60.0
FOREIGN = ("DATABASE_URL", "REDIS_URL", "FLEETLM_AUTH", "FLEETLM_SECRET_KEY")


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    """What `make up` runs, in a directory of its own; its URL."""
    with tempfile.TemporaryDirectory(prefix="fleetlm-tests-") as data:
        port = free_port("127.0.0.1")
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env={**environment, "FLEETLM_ENV": "development", "FLEETLM_DATA": data, "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            await_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def await_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/api/participants/echo-bot", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    process.kill()
    pytest.fail(f"it did not start: {process.communicate()[0].decode()}")


def first_program(readme: Path, language: str, url: str) -> str:
    """The first block of this language, for the server at `url`."""
    program = next(block.text for block in blocks(readme, ROOT) if block.language == language)
    return program.replace("http://127.0.0.1:4000", url)


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_npm_package(running: str, tmp_path: Path) -> None:
    node()
    package = ROOT / "clients" / "typescript"
    built_sdk()
    packing = ("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(tmp_path))
    archive = run(*packing, cwd=package).split()[-1]
    project = tmp_path / "project"
    project.mkdir()
    run("npm", "init", "--yes", cwd=project)
    run("npm", "install", "--no-audit", "--no-fund", str(tmp_path / archive), cwd=project)
    assert [one.name for one in (project / "node_modules").iterdir() if not one.name.startswith(".")] == [
        "@fleetlm"
    ]
    program = first_program(package / "README.md", "js", running)
    (project / "first.mjs").write_text(program)
    assert "echo-bot" in run("node", "first.mjs", cwd=project)


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_the_python_distribution(running: str, tmp_path: Path, kind: str) -> None:
    package = ROOT / "clients" / "python"
    run(sys.executable, "-m", "build", "--outdir", str(tmp_path), str(package), cwd=tmp_path)
    (archive,) = tmp_path.glob(f"fleetlm-*{kind}")
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", str(archive), cwd=tmp_path)
    program = first_program(package / "README.md", "python", running)
    (tmp_path / "first.py").write_text(program)
    assert "echo-bot" in run(python, "first.py", cwd=tmp_path)
