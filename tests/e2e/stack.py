"""A whole FleetLM of real processes, for the tests to use and to break.

Two web processes, a dispatcher, the demo agent and a Valkey of its own, which can each be killed and started again where
they were. What they print goes to files, which a failing test shows.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from runtime.embedded import postgres, valkey
from runtime.embedded.engine import Engine
from runtime.ports import free_port
from runtime.program import Program, open_log, spawn_options

ROOT: Final = Path(__file__).resolve().parents[2]
HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02
LOG_TAIL_BYTES: Final = 6_000
SHORT_LEASES: Final = {"FLEETLM_AGENT_TIMEOUT": "3", "FLEETLM_DISPATCH_LEASE": "4"}
"""So that a test can await the end of a dead dispatcher's lease."""


class StackError(Exception):
    """A process of the stack does not do what it was asked."""


@dataclass(slots=True)
class Member:
    """One process of the stack: how it is started, and how to see that it works."""

    program: Program
    works: Callable[[], bool]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: int = 0
    """How long its log was when it was last started."""

    @property
    def log(self) -> Path:
        """What it has printed."""
        assert self.program.log is not None
        return self.program.log

    def start(self) -> None:
        """Start it and wait until it works. Raises `StackError`."""
        self.launch()
        self.await_work()

    def launch(self) -> None:
        """Start it."""
        self.started_at = self.log.stat().st_size if self.log.exists() else 0
        with open_log(self.log) as log:
            self.process = subprocess.Popen(
                self.program.command, stdout=log, stderr=subprocess.STDOUT, **spawn_options(self.program)
            )

    def await_work(self) -> None:
        """Wait until it works. Raises `StackError`."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.works():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"{self.program.name} did not start:\n{self.tail(0)}")
            time.sleep(LOOK_SECONDS)

    def printed(self) -> bytes:
        """What it has printed since it was last started."""
        return self.log.read_bytes()[self.started_at :] if self.log.exists() else b""

    def tail(self, since: int) -> str:
        """What it has printed since its log was so long, or the end of that."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(since, self.log.stat().st_size - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")


class Stack:
    """The running processes by name: `web0`, `web1`, `dispatcher`, `agent`, `valkey`, perhaps `postgres`, a test's own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self.web: list[str] = []
        self.metrics: dict[str, str] = {}
        self.members: dict[str, Member] = {}

    @property
    def database_url(self) -> str:
        """Where the stack keeps everything."""
        return self.environment["DATABASE_URL"]

    @property
    def dispatcher_metrics(self) -> str:
        """Where the dispatcher says how it fares."""
        return self.metrics["dispatcher"]

    def kill(self, name: str, signum: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process; after SIGKILL it is gone."""
        process = self._process(name)
        process.send_signal(signum)
        if signum == signal.SIGKILL:
            process.wait(STOP_SECONDS)

    def wait(self, name: str, timeout: float = STOP_SECONDS) -> int:
        """The exit code of a process that was asked to stop. Raises `subprocess.TimeoutExpired`."""
        return self._process(name).wait(timeout)

    def restart(self, name: str) -> None:
        """Start a process again where it was, on the same port; kills it first if it still runs."""
        process = self._process(name)
        if process.poll() is None:
            self.kill(name)
        self.members[name].start()

    def running(self, name: str) -> bool:
        """Whether the process is there."""
        return self._process(name).poll() is None

    def resident_bytes(self, name: str) -> int:
        """How much memory a process holds."""
        return int(psutil.Process(self._process(name).pid).memory_info().rss)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Hold a process and its children still, as an overloaded machine does."""
        root = psutil.Process(self._process(name).pid)
        family = [root, *root.children(recursive=True)]
        for one in family:
            one.suspend()
        try:
            yield
        finally:
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.resume()

    def restore(self) -> None:
        """Start what is not running, so that the next test finds the stack whole."""
        missing = [member for name, member in self.members.items() if not self.running(name)]
        for member in missing:
            member.launch()
        for member in missing:
            member.await_work()

    def log_sizes(self) -> dict[str, int]:
        """How long each log is now."""
        return {
            name: member.log.stat().st_size if member.log.exists() else 0
            for name, member in self.members.items()
        }

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a management command to its end; what it printed on standard output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StackError(f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    # How it is put together.

    def add_engine(self, name: str, engine: Engine) -> None:
        """Start an embedded engine as a process of this stack, and wait until it works."""
        self.members[name] = Member(engine.program, engine.answers)
        self.members[name].start()

    def add_web(self, count: int) -> None:
        """Start web processes, each on a port of its own."""
        for number in range(len(self.web), len(self.web) + count):
            port = free_port(HOST)
            url = f"http://{HOST}:{port}"
            self._add(
                f"web{number}",
                ["manage.py", "serve"],
                partial(_is_ready, url),
                PORT=str(port),
                FLEETLM_LOG_LEVEL="WARNING",
            )
            self.web.append(url)

    def add_dispatcher(self, name: str = "dispatcher") -> None:
        """Start a dispatcher, which calls back to the first web process; its metrics are `metrics[name]`."""
        port = free_port(HOST)
        self.metrics[name] = f"http://{HOST}:{port}/metrics"
        self._add(
            name,
            ["manage.py", "dispatch"],
            lambda: b"Calling agents" in self.members[name].printed(),
            FLEETLM_PUBLIC_URL=self.web[0],
            FLEETLM_DISPATCH_METRICS_PORT=str(port),
        )

    def add_dispatchers(self, count: int) -> None:
        """Start so many dispatchers under one parent, `dispatchers`, which replaces at once those that are killed."""
        self._add(
            "dispatchers",
            ["-m", "tests.e2e.dispatchers", str(count)],
            lambda: self.members["dispatchers"].printed().count(b"Calling agents") >= count,
            FLEETLM_PUBLIC_URL=self.web[0],
        )

    def dispatchers(self) -> list[psutil.Process]:
        """Those of `add_dispatchers` that run now, the oldest first."""
        return sorted(
            psutil.Process(self._process("dispatchers").pid).children(), key=lambda one: one.create_time()
        )

    def add_receiver(self, name: str, *arguments: str) -> str:
        """Start an agent that writes down what it gets, in `<name>.calls`; its URL. See `tests/e2e/receivers.py`."""
        port = free_port(HOST)
        self._add(
            name,
            ["-m", "tests.e2e.receivers", str(port), str(self.calls_of(name)), *arguments],
            lambda: _listens(port),
        )
        return f"http://{HOST}:{port}/"

    def calls_of(self, receiver: str) -> Path:
        """Where a receiver writes down what it gets."""
        return self.directory / f"{receiver}.calls"

    def add_agent(self) -> None:
        """Start the demo agent and register it as `echo-bot`."""
        port = free_port(HOST)
        self._add("agent", ["-m", "examples.echo_agent", "--port", str(port)], lambda: _listens(port))
        self.manage("seed_demo", "--agent-url", f"http://{HOST}:{port}/")

    def await_work(self) -> None:
        """Wait until every process works."""
        for member in self.members.values():
            member.await_work()

    def stop(self) -> None:
        """End every process, the engines last."""
        for member in reversed(self.members.values()):
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                member.process.send_signal(member.program.stop_signal)
                try:
                    member.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    member.process.wait()

    def _add(self, name: str, arguments: list[str], works: Callable[[], bool], **environment: str) -> None:
        program = Program(
            name=name,
            command=[sys.executable, *arguments],
            directory=ROOT,
            environment={**self.environment, **environment},
            log=self.directory / f"{name}.log",
        )
        self.members[name] = Member(program, works)
        self.members[name].launch()

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        process = self.members[name].process
        assert process is not None
        return process


def environment(directory: Path, auth: str, database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a stack's processes: this run's, and where its own things are."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PORT", "WEB_CONCURRENCY"}}
    return {
        **kept,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "FLEETLM_DATA": str(directory),
        "FLEETLM_AUTH": auth,
        "FLEETLM_LOG_FORMAT": "text",
        "HOST": HOST,
        "PYTHONUNBUFFERED": "1",
        **SHORT_LEASES,
    }


@contextlib.contextmanager
def _new_stack() -> Iterator[Stack]:
    """A stack without processes. Its directory is not pytest's, which only its owner may enter: Postgres is another user."""
    with tempfile.TemporaryDirectory(prefix="fleetlm-tests-") as directory:
        stack = Stack(Path(directory), {})
        try:
            yield stack
        finally:
            stack.stop()


@contextlib.contextmanager
def whole_stack(*, own_postgres: bool = False) -> Iterator[Stack]:
    """Everything, without keys (`FLEETLM_AUTH=open`); on this run's Postgres, or on one of its own that loses nothing."""
    with _stack_with_engines({}, own_postgres=own_postgres) as stack:
        stack.add_web(2)
        stack.add_dispatcher()
        stack.add_agent()
        stack.await_work()
        yield stack


@contextlib.contextmanager
def plain_stack(**settings: str) -> Iterator[Stack]:
    """One web process, without keys, with these settings; what else it needs, a test adds itself."""
    with _stack_with_engines(settings) as stack:
        stack.add_web(1)
        stack.await_work()
        yield stack


@contextlib.contextmanager
def _stack_with_engines(settings: Mapping[str, str], *, own_postgres: bool = False) -> Iterator[Stack]:
    """A stack of the engines alone: a Valkey of its own, and a migrated database."""
    with _new_stack() as stack:
        directory = stack.directory
        cache = valkey.prepare(directory / "valkey")
        stack.add_engine("valkey", cache)
        if own_postgres:
            database = postgres.prepare(directory / "postgres", fsync=True)
            stack.add_engine("postgres", database)
            database_url = database.url
        else:
            database_url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{directory.name}").geturl()
        postgres.create_database(database_url)
        stack.environment = environment(directory, "open", database_url, cache.url) | dict(settings)
        stack.manage("migrate", "--verbosity", "0")
        yield stack


@contextlib.contextmanager
def guarded_stack(beside: Stack) -> Iterator[Stack]:
    """One more web process beside a stack, on the same data, to which every call must bring a key or a token."""
    with _new_stack() as stack:
        stack.environment = environment(
            stack.directory, "required", beside.database_url, beside.environment["REDIS_URL"]
        )
        stack.add_web(1)
        stack.await_work()
        yield stack


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
