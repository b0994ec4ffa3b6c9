"""The `fleetlm` command without a process of its own: for what needs no pipes, many times faster."""

import io
import sys
from pathlib import Path

import pytest
from fleetlm_client.cli.program import run

from tests.e2e.cli.command import Done


class InProcess:
    """Runs the command in this process, with what it writes taken down."""

    def __init__(
        self, home: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
        monkeypatch.setenv("FLEETLM_URL", url)

    def __call__(self, *arguments: str, given: str = "") -> Done:
        """Run it to its end."""
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        self._capsys.readouterr()
        code = run(arguments, None, "fleetlm")
        written = self._capsys.readouterr()
        return Done(code, written.out, written.err)
