"""What an embedded engine is to its users: a program, its URL, and a way to see that it answers."""

import contextlib
import importlib.util
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.program import Program, open_log, spawn_options

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.02


class EngineError(Exception):
    """An embedded engine cannot run. The text says why, in words for the person at the terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """An engine that is ready to be started."""

    program: Program
    url: str
    log: Path
    answers: Callable[[], bool]
    """Whether it takes connections now. Blocks for a second at most."""

    def failure(self, what: str) -> EngineError:
        """An error that says what went wrong, with the last line of the engine's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        last = f": {lines[-1].strip()}" if lines else ""
        return EngineError(f"{self.program.name} {what}{last} (log: {self.log})")


def wheel_file(package: str, pattern: str) -> Path:
    """A file that an installed wheel brings.

    The package isn't imported. Raises `EngineError` when it is not there.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        for path in Path(place).glob(pattern):
            return path
    raise EngineError(
        f"No embedded engine here: {package} is not installed for this system. Set DATABASE_URL, REDIS_URL."
    )


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[str]:
    """Run an engine while this context lasts, and give its URL.

    Raises `EngineError` when it does not come up.
    """
    with open_log(engine.log) as log:
        process = subprocess.Popen(
            engine.program.command, stdout=log, stderr=subprocess.STDOUT, **spawn_options(engine.program)
        )
    try:
        _wait_until_it_answers(engine, process)
        yield engine.url
    finally:
        _stop(engine, process)


def _wait_until_it_answers(engine: Engine, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while not engine.answers():
        if process.poll() is not None:
            raise engine.failure("ended while it was starting")
        if time.monotonic() > deadline:
            raise engine.failure(f"did not start within {START_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _stop(engine: Engine, process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(engine.program.stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
