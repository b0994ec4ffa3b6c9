"""The bench, in its shortest form: it measures, it checks what it did, and says so."""

import re
import subprocess
import sys
from pathlib import Path

import orjson

from fleetlm.config import PROJECT_ROOT


def test_it_prints_figures_and_checks_them(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "rest", "--json", str(figures)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"durable appends/s, REST, auth on, 32 connections +[\d,.]+ ", done.stdout)
    assert re.search(r"Checks passed: [\d,]+ acknowledged appends are stored", done.stdout)
    medians = orjson.loads(figures.read_bytes())["medians"]
    assert medians["rest"] > 10
    assert medians["bare_http"] > medians["rest"]
    assert medians["pgbench_64"] > 10
