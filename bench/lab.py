"""One run of the bench: its processes, its pace, who was busy, what was found wrong."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bench import checks, processes, seed
from bench.driving import Shares, drive
from bench.processes import Child

TEXT = "Hello! Could you please tell me where my parcel is right now?"

DRIVERS = ("driver", "receiver", "streamer")
BUSY = 0.8
"""A driver that takes more than this share of a core may be what the figure measures."""

OTHERS = 0.2
"""More than this share of a core for processes that are not ours: the machine is not quiet."""

LATE_MS = 1.0
"""An open loop that is later than this with one send in a hundred measures itself."""


@dataclass
class Lab:
    """What the measures share."""

    data: Path
    key: str
    seconds: float
    warm_up: float
    quick: bool
    started: ExitStack
    faults: list[str] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    cpu: defaultdict[str, list[Shares]] = field(default_factory=lambda: defaultdict(list))
    """Who was busy, by measure and number of web processes, a value for each time."""
    late: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By how many milliseconds open loops were late, p99, likewise."""
    servers: list[Child] = field(default_factory=list)
    bare: Child = field(init=False)
    dispatcher: Child = field(init=False)
    _measures: dict[str, str] = field(default_factory=dict)
    _runs: Iterator[int] = field(default_factory=count)

    def start(self, workers: list[int]) -> None:
        """Start what the measures share, all at once: a server for each number of web processes, a dispatcher, the bare one."""
        self.dispatcher = self.started.enter_context(processes.dispatcher(self.data))
        self.servers = [self.started.enter_context(processes.web(self.data, one)) for one in workers]
        self.bare = self.started.enter_context(processes.bare(self.data))
        for child in (*self.servers, self.bare):
            child.wait_until_it_answers()

    def drive(self, measure: str, driver: str, plan: dict[str, Any], server: Child) -> dict[str, Any]:
        """Run a driver against a server for this measure; check what it did, and note who was busy."""
        run = f"run{next(self._runs)}"
        where = self._measures[run] = f"{measure} ×{server.workers}"
        result = self._run(where, driver, plan | {"run": run}, server)
        acknowledged = result.get("acknowledged", [])
        self.acknowledged[run] = len(acknowledged)
        self.faults += [f"{where}: {fault}" for fault in checks.acknowledged(acknowledged)]
        return result

    def ceiling(
        self, measure: str, driver: str, plan: dict[str, Any], server: Child | None = None
    ) -> dict[str, Any]:
        """Run a driver against something that is not this server, for a second at most."""
        plan = {"seconds": min(self.seconds, 1), "run": "ceiling"} | plan
        return self._run(f"{measure} ceiling", driver, plan, server)

    def _run(self, where: str, driver: str, plan: dict[str, Any], server: Child | None) -> dict[str, Any]:
        usual = {"seconds": self.seconds, "warm_up": self.warm_up, "text": TEXT, "key": self.key}
        if server is not None:
            usual["port"] = server.port
        result = drive(driver, usual | plan)
        self.faults += [f"{where}: {fault}" for fault in result["faults"]]
        self.cpu[where].append(result["cpu"])
        if "late_p99_ms" in result:
            self.late[where].append(result["late_p99_ms"])
        return result

    def check(self) -> None:
        """Compare all that was acknowledged, and every log, with what Postgres holds."""
        self.faults += [
            f"{self._measures.get(run, run)}: {fault}"
            for run, fault in checks.runs(self.acknowledged).items()
        ]
        self.faults += checks.logs()

    def warnings(self) -> list[str]:
        """Which figures may be a driver's own."""
        busy = [
            f"{where}: the {name} took {share:.0%} of a core; what it drives may be faster"
            for where, shares in self.cpu.items()
            for name in DRIVERS
            if (share := median(one.get(name, 0.0) for one in shares)) > BUSY
        ]
        late = [
            f"{where}: the driver itself was {median(values):.1f} ms late (p99); the latencies hold that"
            for where, values in self.late.items()
            if median(values) > LATE_MS
        ]
        shares = [one["others"] for several in self.cpu.values() for one in several if "others" in one]
        others = median(shares) if shares else 0.0
        loud = [f"other processes took {others:.0%} of a core meanwhile: measure on a quiet machine"]
        return busy + late + (loud if others > OTHERS else [])


@contextmanager
def lab(data: Path, *, quick: bool) -> Iterator[Lab]:
    """A lab on running engines, with the tables made."""
    with ExitStack() as started:
        pace = (0.8, 0.3) if quick else (1.0, 0.3)
        yield Lab(data, seed.prepare(), *pace, quick, started)
