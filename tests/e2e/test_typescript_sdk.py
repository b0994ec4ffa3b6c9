"""The TypeScript SDK: its own tests against running servers, and the package that people install."""

import os
import re
import subprocess
import sys
from typing import Final

import pytest

from tests.e2e.javascript import ROOT, built_sdk, node, run_in_browser
from tests.e2e.stack import Stack

PACKAGE: Final = ROOT / "clients" / "typescript"
TESTS_SECONDS: Final = 240
CHECK_SECONDS: Final = 180


def run(*command: str, timeout: int, **environment: str) -> str:
    """Run a program of the workspace in the package's directory; what it prints is shown if it fails."""
    outcome = subprocess.run(
        [node(), str(ROOT / "node_modules" / command[0]), *command[1:]],
        cwd=PACKAGE,
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def test_its_own_tests_pass_against_running_servers(stack: Stack, guarded: Stack) -> None:
    scopes = [argument for scope in ("read", "write", "admin") for argument in ("--scope", scope)]
    key = guarded.manage("createapikey", "typescript", *scopes).strip()
    servers = {
        **stack.environment,
        "FLEETLM_URL": stack.web[0],
        "FLEETLM_GUARDED_URL": guarded.web[0],
        "FLEETLM_API_KEY": key,
        "FLEETLM_PYTHON": sys.executable,
    }
    printed = run("vitest/vitest.mjs", "run", timeout=TESTS_SECONDS, **servers)
    assert "skipped" not in printed, printed


@pytest.fixture(scope="module")
def built() -> None:
    """Have what is published built."""
    built_sdk()


def test_it_is_typed_throughout() -> None:
    run("typescript/bin/tsc", "--noEmit", timeout=CHECK_SECONDS)


def test_it_is_formatted() -> None:
    run("prettier/bin/prettier.cjs", "--check", ".", timeout=CHECK_SECONDS)


@pytest.mark.usefixtures("built")
def test_every_entry_is_within_its_size() -> None:
    run("size-limit/bin.js", timeout=CHECK_SECONDS)


@pytest.mark.usefixtures("built")
def test_its_package_can_be_imported_by_everyone() -> None:
    run("publint/src/cli.js", "--strict", "--pack", "false", timeout=CHECK_SECONDS)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("program", ["hello.mjs", "socket.mjs"])
def test_the_programs_of_its_readme_run(program: str, stack: Stack) -> None:
    readme = (PACKAGE / "README.md").read_text()
    [code] = re.findall(rf"```js\n(// {program}\n.*?)```", readme, re.DOTALL)
    printed = subprocess.run(
        [node(), "--input-type=module", "-"],
        input=code.replace("http://127.0.0.1:4000", stack.web[0]),
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    assert "echo-bot: " in printed.stdout


@pytest.mark.usefixtures("built")
def test_it_goes_on_in_a_browser_whose_network_was_off(stack: Stack) -> None:
    run_in_browser("typescript_sdk.mjs", BASE=stack.web[0])
