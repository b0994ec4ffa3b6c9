"""FleetLM on one machine, for development: engines, migrations, the demo, the processes, in this order.

`manage.py up` is the terminal's door to it. Everything here is a child process of that command and ends
with it.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.banner import banner, engines_banner
from runtime.embedded import postgres, valkey
from runtime.embedded.engine import START_SECONDS, Engine
from runtime.embedded.files import kept_secret, write_env
from runtime.ports import free_port
from runtime.program import Program
from runtime.supervisor import Supervisor

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
KEPT_NAMES: Final = (
    "FLEETLM_AGENT_ALLOWED_NETWORKS",
    "DATABASE_URL",
    "REDIS_URL",
    "HOST",
    "PORT",
    "FLEETLM_ENV",
    "FLEETLM_AUTH",
    "FLEETLM_SECRET_KEY",
)
LOOPBACK: Final = "127.0.0.0/8,::1/128"
LOOK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 30.0
FALSE_STARTS: Final = 2


class CannotStartError(Exception):
    """Something that FleetLM needs did not come up. The text says what, for the person at the terminal."""


@dataclass
class Development:
    """One FleetLM on this machine. The caller holds the lock on `data`."""

    data: Path
    host: str
    port: int
    given: Mapping[str, str]
    """The environment of whoever started this, with FLEETLM_ENV and FLEETLM_AUTH.

    Engines it names are used as they are.
    """
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(_print))

    async def run(self, *, engines_only: bool) -> None:
        """Bring everything up and keep it up until SIGINT, SIGTERM or SIGHUP.

        Raises `CannotStartError`, `EngineError`.
        """
        loop = asyncio.get_running_loop()
        work = asyncio.ensure_future(self._bring_up(engines_only))
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop_asked, work)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            await self.supervisor.stop()
            # The rest of it names what no longer runs, and would stand in for defaults the next time.
            write_env(self.data / "env", {"FLEETLM_SECRET_KEY": self._secret_key()})

    def _stop_asked(self, work: "asyncio.Future[None]") -> None:
        if work.done():
            self.supervisor.hurry()
        else:
            _print("\nStopping. Ctrl-C again stops at once.")
            work.cancel()

    async def _bring_up(self, engines_only: bool) -> None:
        environment = self._environment()
        if "DATABASE_URL" not in environment:
            database = postgres.prepare(self.data / "postgres")
            await self._start_engine(database)
            postgres.create_database(database.url)
            environment["DATABASE_URL"] = database.url
        if "REDIS_URL" not in environment:
            cache = valkey.prepare(self.data / "valkey")
            await self._start_engine(cache)
            environment["REDIS_URL"] = cache.url
        write_env(self.data / "env", {name: environment[name] for name in KEPT_NAMES})
        if engines_only:
            urls = {"postgres": environment["DATABASE_URL"], "valkey": environment["REDIS_URL"]}
            _print(engines_banner(data=self.data, **urls))
        else:
            await self._start_processes(environment)
        await asyncio.Event().wait()

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in self.given.items() if value or name not in KEPT_NAMES}
        environment.setdefault("FLEETLM_LOG_FORMAT", "text")
        environment.setdefault("FLEETLM_AGENT_ALLOWED_NETWORKS", LOOPBACK)  # where the demo agent is
        return environment | {
            "FLEETLM_SECRET_KEY": self._secret_key(),
            "HOST": self.host,
            "PORT": str(self.port),
            "FLEETLM_DATA": str(self.data),
            "PYTHONUNBUFFERED": "1",
        }

    def _secret_key(self) -> str:
        return self.given.get("FLEETLM_SECRET_KEY") or kept_secret(self.data / "secret-key")

    async def _start_engine(self, engine: Engine) -> None:
        child = await self.supervisor.start(engine.program)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not engine.answers():
            if child.restarts >= FALSE_STARTS or asyncio.get_running_loop().time() > deadline:
                raise engine.failure("does not start")
            await asyncio.sleep(LOOK_SECONDS)

    async def _start_processes(self, environment: Mapping[str, str]) -> None:
        def program(name: str, *arguments: str) -> Program:
            command = [sys.executable, *arguments]
            return Program(name=name, command=command, directory=PROJECT_ROOT, environment=environment)

        password = kept_secret(self.data / "admin-password", size=12)
        agent_port = free_port()
        seed = ["--admin-password-file", str(self.data / "admin-password")]
        seed += ["--agent-url", f"http://127.0.0.1:{agent_port}/"]
        await self._finish(program("migrate", "manage.py", "migrate", "--noinput", "--verbosity", "0"))
        await self._finish(program("seed", "manage.py", "seed_demo", *seed))
        # What web and dispatcher count is told by one `/metrics`.
        shared_metrics = self.data / "metrics"
        shutil.rmtree(shared_metrics, ignore_errors=True)
        shared_metrics.mkdir()
        environment = {**environment, "PROMETHEUS_MULTIPROC_DIR": str(shared_metrics)}
        for one in (
            program("agent", "-m", "examples.echo_agent", "--port", str(agent_port)),
            program("dispatch", "manage.py", "dispatch"),
            program("web", "manage.py", "serve"),
        ):
            await self.supervisor.start(one)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # read, not listened on
        await self._wait_until_ready(host)
        open_mode = environment["FLEETLM_AUTH"] == "open"
        _print(
            banner(host=host, port=self.port, data=self.data, admin_password=password, open_mode=open_mode)
        )

    async def _finish(self, program: Program) -> None:
        if await self.supervisor.run(program):
            raise CannotStartError(f"{program.name} failed: see above")

    async def _wait_until_ready(self, host: str) -> None:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{self.port}/health/ready"
        loop = asyncio.get_running_loop()
        patience = loop.time() + PATIENCE_SECONDS
        while not await asyncio.to_thread(_is_ready, url):
            if loop.time() > patience:
                self.supervisor.say(f"still waiting for {url}")
                patience += PATIENCE_SECONDS
            await asyncio.sleep(LOOK_SECONDS)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # our own URL
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed; SIGHUP stops everything
        print(line, flush=True)
