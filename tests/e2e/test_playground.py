"""The playground in a real browser: `playground.mjs` against a running stack."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Longer than the script's own limit, so that its message is the one that is read.
SECONDS = 180


class Stack(Protocol):
    """The part of the running stack that is used here."""

    web: list[str]


def test_people_and_agents_talk_in_the_browser(stack: Stack) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    node = shutil.which("node")
    if browser is None:
        pytest.skip(f"no Chromium on the PATH: looked for {', '.join(BROWSERS)}")
    if node is None:
        pytest.skip("no Node.js on the PATH")
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is not installed: run `npm ci` in tests/e2e")
    outcome = subprocess.run(
        [node, "playground.mjs"],
        cwd=HERE,
        env={**os.environ, "BASE": stack.web[0], "CHROMIUM": browser},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
