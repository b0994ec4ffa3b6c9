"""Runs a driver to its end and finds out who was busy while it counted."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import orjson
import psutil

from bench.processes import ROOT, role

PATIENCE_SECONDS = 600
"""No driver runs longer than this."""

Shares = dict[str, float]
"""What each role used, as a share of one core; `others` are all processes that are not ours."""


class Watch:
    """Who is busy between two moments, among the processes that this one has started."""

    def __init__(self) -> None:
        self.shares: Shares = {}

    def opens(self) -> None:
        """The first moment."""
        self._before, self._began = _cpu_seconds(), time.perf_counter()
        self._all_before = _all_cpu_seconds()

    def closes(self) -> None:
        """The second one."""
        seconds = time.perf_counter() - self._began
        after = _cpu_seconds()
        self.shares = {name: (after[name] - self._before[name]) / seconds for name in after}
        everything = (_all_cpu_seconds() - self._all_before) / seconds
        self.shares["others"] = max(everything - sum(self.shares.values()), 0.0)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Watch who is busy while the context lasts."""
    watch = Watch()
    watch.opens()
    yield watch
    watch.closes()


def drive(driver: str, plan: dict[str, Any]) -> dict[str, Any]:
    """The driver's result, with `cpu`, the shares of what counted. Raises `SystemExit` when it fails."""
    command = [sys.executable, "-m", f"bench.drivers.{driver}"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT
        )
        limit = threading.Timer(PATIENCE_SECONDS, process.kill)
        limit.start()
        try:
            assert process.stdin
            assert process.stdout
            with process.stdin as pipe:
                pipe.write(orjson.dumps(plan))
            written, shares = _read(process.stdout)
        finally:
            process.wait()
            limit.cancel()
        errors.seek(0)
        if process.returncode or not written:
            raise SystemExit(f"bench: the driver {driver} failed:\n{errors.read().decode()[-2000:]}")
    result: dict[str, Any] = orjson.loads(written)
    return result | {"cpu": shares}


def _read(output: IO[bytes]) -> tuple[bytes, Shares]:
    """The driver's result, and the shares between its marks, if it makes any; its own by its own account, which is finer."""
    watch = Watch()
    watch.opens()
    own: dict[bytes, float] = {}
    result = b""
    for line in output:
        if line.startswith(b"{"):
            result = line
            continue
        name, seconds = line.split()
        own[name] = float(seconds)
        if name == b"opens":
            watch.opens()
            began = time.perf_counter()
        else:
            lasted = time.perf_counter() - began
            watch.closes()
    if b"closes" not in own:
        watch.closes()
    else:
        watch.shares["driver"] = (own[b"closes"] - own[b"opens"]) / lasted
    return result, watch.shares


def _all_cpu_seconds() -> float:
    """CPU seconds so far of this whole machine; what its host has taken from it counts too."""
    times = psutil.cpu_times()
    return float(sum(times[:8]) - times.idle - getattr(times, "iowait", 0.0))


def _cpu_seconds() -> Counter[str]:
    """CPU seconds so far of our children, by what they are."""
    found: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[role(process)] += times.user + times.system  # type: ignore[assignment]  # seconds, not a number of things
    return found
