"""Everything that is measured, started in a temporary directory: the engines, the server's processes, the bare server."""

import contextlib
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import psutil

from runtime.embedded import postgres, valkey
from runtime.embedded.engine import running
from runtime.ports import free_port
from runtime.program import Program, spawn_options

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0


@contextlib.contextmanager
def engines() -> Iterator[Path]:
    """Postgres (with fsync) and Valkey; the environment of this process leads to them while the context lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetlm-bench-")))
        database = stack.enter_context(running(postgres.prepare(data / "postgres")))
        cache = stack.enter_context(running(valkey.prepare(data / "valkey")))
        postgres.create_database(database)
        os.environ |= {
            "DATABASE_URL": database,
            "REDIS_URL": cache,
            "FLEETLM_DATA": str(data),
            "FLEETLM_ENV": "production",
            "FLEETLM_AUTH": "required",
            "FLEETLM_SECRET_KEY": secrets.token_urlsafe(48),
            "FLEETLM_LOG_FORMAT": "json",
            "FLEETLM_LOG_LEVEL": "INFO",
            "FLEETLM_AGENT_PLAIN_HTTP": "true",
            "FLEETLM_AGENT_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "fleetlm.settings",
        }
        yield data


class Child:
    """A process of ours, with its log beside the engines' data."""

    def __init__(
        self, name: str, data: Path, *arguments: str, port: int, path: str = "/", stdin: str = ""
    ) -> None:
        environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        program = Program(
            name=name, command=[sys.executable, *arguments], directory=ROOT, environment=environment
        )
        self.port = port
        self._path = path
        self._log = data / f"{name}.log"
        options = spawn_options(program) | {"stdin": subprocess.PIPE}
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(program.command, stdout=log, stderr=subprocess.STDOUT, **options)
        assert self._process.stdin
        with self._process.stdin as pipe:
            pipe.write(f"{stdin}\n".encode())
        self.pid = self._process.pid

    def wait_until_it_answers(self) -> None:
        """Return when its path is served, whatever it says but 503."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"http://127.0.0.1:{self.port}{self._path}"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: a process does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _running(process: Child) -> Iterator[Child]:
    try:
        yield process
    finally:
        process.stop()


def web(data: Path) -> AbstractContextManager[Child]:
    """One web process; wait until it answers."""
    return _running(Child("web", data, "manage.py", "serve", port=free_port(), path="/health/ready"))


def dispatcher(data: Path) -> AbstractContextManager[Child]:
    """A dispatcher."""
    return _running(Child("dispatch", data, "manage.py", "dispatch", port=0))


def bare(data: Path) -> AbstractContextManager[Child]:
    """The same server without an application."""
    port = free_port()
    return _running(Child("bare", data, "-m", "bench.bare", str(port), port=port, path="/a/b/c/d"))


def receiver(data: Path, port: int, secret: str) -> AbstractContextManager[Child]:
    """The agent that is called, with the secret that its calls are signed with."""
    path = "/wait?calls=0"
    return _running(
        Child("receiver", data, "-m", "bench.receiver", str(port), port=port, path=path, stdin=secret)
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310  # our own URL
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False


def drive(driver: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Run one driver to its end; its result, with the CPU shares of everything else meanwhile. Raises `SystemExit`."""
    before = _cpu_seconds()
    began = time.perf_counter()
    command = [sys.executable, "-m", f"bench.drivers.{driver}"]
    with tempfile.TemporaryFile() as out:
        done = subprocess.run(
            command, input=orjson.dumps(plan), stdout=out, stderr=subprocess.PIPE, cwd=ROOT, check=False
        )
        out.seek(0)
        written = out.read()
    if done.returncode:
        raise SystemExit(f"bench: the driver {driver} failed:\n{done.stderr.decode()[-2000:]}")
    seconds = time.perf_counter() - began
    after = _cpu_seconds()
    result: dict[str, Any] = orjson.loads(written)
    shares = {name: (after[name] - before.get(name, 0.0)) / seconds for name in after}
    result["cpu"] = shares | {"driver": result.pop("driver_cpu")}
    return result


def _cpu_seconds() -> dict[str, float]:
    """CPU seconds so far of our children, by what they are."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            name = _role(process)
            found[name] = found.get(name, 0.0) + times.user + times.system
    return found


def _role(process: psutil.Process) -> str:
    name = process.name()
    if name.startswith(("postgres", "valkey")):
        return name.partition("-")[0]
    command = " ".join(process.cmdline())
    return next((role for role in ("serve", "dispatch", "bare", "receiver") if role in command), "other")


def until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
