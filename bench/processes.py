"""The processes of ours that a run starts: the server's, the bare one, agents, drivers; each with a log of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from runtime.ports import free_port
from runtime.program import Program, spawn_options

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
ROLES = {
    "manage.py serve": "serve",
    "manage.py dispatch": "dispatch",
    "bench.bare": "bare",
    "bench.receiver": "receiver",
    "bench.streamer": "streamer",
    "bench.drivers": "driver",
}
"""What our processes are called, by a part of their command lines."""


class Child:
    """A process of ours. `workers` is how many processes serve its port."""

    def __init__(
        self,
        name: str,
        data: Path,
        *arguments: str,
        port: int,
        path: str = "/",
        stdin: str = "",
        workers: int = 1,
    ) -> None:
        environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        environment["WEB_CONCURRENCY"] = str(workers)
        program = Program(
            name=name, command=[sys.executable, *arguments], directory=ROOT, environment=environment
        )
        self.port = port
        self.workers = workers
        self._path = path
        self._log = data / f"{name}-{port}.log"
        options = spawn_options(program) | {"stdin": subprocess.PIPE}
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(program.command, stdout=log, stderr=subprocess.STDOUT, **options)
        assert self._process.stdin
        with self._process.stdin as pipe:
            pipe.write(f"{stdin}\n".encode())
        self.pid = self._process.pid

    def serving(self) -> list[int]:
        """The ids of the processes that serve its port."""
        own = psutil.Process(self.pid)
        return [one.pid for one in (own, *own.children(recursive=True)) if _listens(one, self.port)]

    def wait_until_it_answers(self) -> None:
        """Return when its path is served, by all of its workers, whatever it says but 503."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"http://127.0.0.1:{self.port}{self._path}") or len(self.serving()) < self.workers:
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


def web(data: Path, workers: int = 1) -> AbstractContextManager[Child]:
    """The server with so many web processes; wait until it answers."""
    port = free_port()
    return _running(
        Child("web", data, "manage.py", "serve", port=port, path="/health/ready", workers=workers)
    )


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


def streamer(data: Path, port: int) -> AbstractContextManager[Child]:
    """The agent that streams."""
    return _running(Child("streamer", data, "-m", "bench.streamer", str(port), port=port))


def role(process: psutil.Process) -> str:
    """What a process is, in one word."""
    name = process.name()
    if name.startswith(("postgres", "valkey", "pgbench")):
        return name.partition("-")[0]
    command = " ".join(process.cmdline())
    return next((role for part, role in ROLES.items() if part in command), "other")


def _listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr.port == port
            for one in process.net_connections("inet")
        )
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310  # our own URL
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False
