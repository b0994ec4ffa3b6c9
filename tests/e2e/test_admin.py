"""The admin of agents in a real browser: `admin.mjs` against a running stack."""

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
PASSWORD = "of-the-admin-in-this-test"


class Stack(Protocol):
    """The part of the running stack that is used here."""

    web: list[str]
    directory: Path

    def manage(self, *arguments: str, **environment: str) -> str: ...


def test_an_operator_tests_rotates_pauses_and_skips_in_the_browser(stack: Stack) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    node = shutil.which("node")
    if browser is None:
        pytest.skip(f"no Chromium on the PATH: looked for {', '.join(BROWSERS)}")
    if node is None:
        pytest.skip("no Node.js on the PATH")
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is not installed: run `npm ci` in tests/e2e")
    stack.manage(
        "createsuperuser",
        "--noinput",
        "--username",
        "operator",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        DJANGO_SUPERUSER_EMAIL="",
    )
    outcome = subprocess.run(
        [node, "admin.mjs"],
        cwd=HERE,
        env={**os.environ, "BASE": stack.web[0], "CHROMIUM": browser, "PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
