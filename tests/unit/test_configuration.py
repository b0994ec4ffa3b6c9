"""Settings: what is wrong is said in one clear line, before anything starts; what there is, is documented."""

import os
import subprocess
import sys

import pytest

from fleetlm.config import PROJECT_ROOT, Config
from fleetlm.configuration_page import HEADINGS, render, variable_of

GOOD = {"FLEETLM_SECRET_KEY": "0123456789" * 4, "FLEETLM_DATA": "/nowhere", "PATH": os.environ["PATH"]}


def start(**variables: str) -> "subprocess.CompletedProcess[str]":
    """Load the settings in a process of their own."""
    return subprocess.run(
        [sys.executable, "-c", "import fleetlm.settings"],
        cwd=PROJECT_ROOT,
        env={**GOOD, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_good_settings_start() -> None:
    ended = start()
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PORT": "70000"}, "PORT"),
        ({"PORT": "four"}, "PORT"),
        ({"FLEETLM_AUTH": "maybe"}, "AUTH"),
        ({"FLEETLM_AUTH": "open"}, "FLEETLM_AUTH=open is for FLEETLM_ENV=development only"),
        ({"FLEETLM_AUTH": "open", "FLEETLM_ENV": "development", "HOST": "0.0.0.0"}, "HOST=0.0.0.0"),  # noqa: S104
        ({"FLEETLM_SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"FLEETLM_SECRET_KEY": Config.model_fields["secret_key"].default}, "FLEETLM_SECRET_KEY is not set"),
        ({"FLEETLM_AGENT_ALLOWED_NETWORKS": "10.0.0.0/33"}, "FLEETLM_AGENT_ALLOWED_NETWORKS"),
        ({"FLEETLM_AGENT_RETRY_SCHEDULE": "1,soon"}, "AGENT_RETRY_SCHEDULE"),
        ({"FLEETLM_LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_exit_code_2(variables: dict[str, str], named: str) -> None:
    ended = start(**variables)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("fleetlm: bad setting")
    assert named.lower() in line.lower()


def test_every_fault_has_its_line() -> None:
    assert len(start(PORT="x", FLEETLM_LOG_LEVEL="x").stderr.splitlines()) == 2


def test_every_setting_is_documented_under_a_heading() -> None:
    page = render()
    assert next(iter(HEADINGS)) == next(iter(Config.model_fields))
    assert set(HEADINGS) <= set(Config.model_fields)
    for name, field in Config.model_fields.items():
        assert page.count(f"| `{variable_of(name, field)}` | ") == 1
        assert field.description


def test_the_page_says_types_bounds_and_defaults() -> None:
    page = render()
    assert (
        "| `PORT` | whole number, from 0 to 65535 | The port that the web process listens on. | `4000` |"
        in page
    )
    assert "| `FLEETLM_AUTH` | `open` or `required` |" in page
    assert "`1,5,30,120,600,1800,3600,10800,21600`" in page.replace(".0", "")
    assert str(PROJECT_ROOT) not in page
    assert Config.model_fields["secret_key"].default not in page
