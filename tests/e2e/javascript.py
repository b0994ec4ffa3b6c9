"""Node, its packages and a browser, for the tests that need them; where they are missing a test is skipped, but never in CI."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCRIPT_SECONDS: Final = 240
"""Longer than the scripts' own limits, so that their message is the one that is read."""


def node() -> str:
    """Where Node.js is, with the packages of this repository installed."""
    found = shutil.which("node")
    if found is None:
        _missing("no Node.js on the PATH")
    if not (ROOT / "node_modules" / ".package-lock.json").is_file():
        _missing("the npm packages are not installed: run `npm ci`")
    return found


def browser() -> str:
    """Where Chromium is."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        _missing(f"no Chromium on the PATH: looked for {', '.join(BROWSERS)}")
    return found


def built_sdk() -> Path:
    """The directory of the built `@fleetlm/js`, which is built if its sources are newer; one at a time."""
    package = ROOT / "clients" / "typescript"
    built = package / "dist" / "index.js"
    with (ROOT / "node_modules" / ".sdk-build").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(one.stat().st_mtime for one in package.glob("src/**/*.ts*"))
        if not built.exists() or built.stat().st_mtime < newest:
            build = ["npm", "run", "--silent", "build"]
            done = subprocess.run(build, cwd=package, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return built.parent


def run_in_browser(script: str, **environment: str) -> None:
    """Run a script of this directory, which drives the browser at `CHROMIUM`. What it prints is shown if it fails."""
    outcome = subprocess.run(
        [node(), script],
        cwd=HERE,
        env={**os.environ, "CHROMIUM": browser(), **environment},
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
