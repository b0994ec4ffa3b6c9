"""What is measured, one class for each thing: how it is prepared, and what one round of it and of its ceilings gives."""

import json
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, pairwise
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings

from bench import checks, pgbench, seed, stack
from runtime.ports import free_port

TEXT = "Hello! Could you please tell me where my parcel is right now?"
Figures = dict[str, float]


@dataclass
class Lab:
    """One run of the bench: its processes, its pace, what was found wrong."""

    data: Path
    key: str
    seconds: float
    warm_up: float
    quick: bool
    processes: ExitStack
    faults: list[str] = field(default_factory=list)
    appends: int = 0
    cpu: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    web: stack.Child = field(init=False)
    bare: stack.Child = field(init=False)
    dispatcher: stack.Child = field(init=False)
    _runs: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start what the measures share, all at once: a web process, a dispatcher as in production, the bare server."""
        self.dispatcher = self.processes.enter_context(stack.dispatcher(self.data))
        self.web = self.processes.enter_context(stack.web(self.data))
        self.bare = self.processes.enter_context(stack.bare(self.data))
        self.web.wait_until_it_answers()
        self.bare.wait_until_it_answers()

    def drive(self, driver: str, plan: dict[str, Any], *, of: str | None = None) -> dict[str, Any]:
        """Run a driver; with `of`, the name of a measure, check what it did and note who was busy meanwhile."""
        run = f"run{next(self._runs)}"
        paces = {"seconds": self.seconds, "warm_up": self.warm_up, "text": TEXT, "run": run, "key": self.key}
        result = stack.drive(driver, paces | plan)
        self.faults += [f"{driver}: {fault}" for fault in result["faults"]]
        if of is not None:
            self.cpu.setdefault(of, []).append(result["cpu"])
            acknowledged = result.get("acknowledged", [])
            self.appends += len(acknowledged)
            self.faults += [f"{of}: {fault}" for fault in checks.appends(run, acknowledged)]
        return result


class Measure(ABC):
    """One thing that is measured."""

    name: ClassVar[str]

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def prepare(self) -> None:  # noqa: B027  # not every measure has something to prepare
        """Make what a round needs; before any process is started."""

    @abstractmethod
    def round(self) -> Figures:
        """One round: figures and their ceilings, by name."""


class _Pairs:
    """The hundred two-member conversations: 32 people write, each in three or four of them."""

    senders = [f"sender-{n}" for n in range(32)]
    pairs = [(f"sender-{n % 32}", f"reader-{n}") for n in range(100)]

    def __init__(self) -> None:
        self.keys = seed.dms(self.pairs)

    @cached_property
    def sockets(self) -> list[dict[str, Any]]:
        """A socket for each sender, with the keys that it joins."""
        return [
            {
                "token": seed.token(sender),
                "keys": [key for key, pair in zip(self.keys, self.pairs, strict=True) if pair[0] == sender],
            }
            for sender in self.senders
        ]


_pairs: list[_Pairs] = []


def _the_pairs() -> _Pairs:
    if not _pairs:
        _pairs.append(_Pairs())
    return _pairs[0]


class Rest(Measure):
    """Durable appends over REST."""

    name = "rest"

    def prepare(self) -> None:
        self.conversations = [
            (key, pair[0]) for key, pair in zip(_the_pairs().keys, _Pairs.pairs, strict=True)
        ]
        pgbench.prepare()

    def round(self) -> Figures:
        plan = {"connections": 32, "conversations": self.conversations}
        real = self._drive(self.lab.web, plan, of=self.name)
        bare = self._drive(self.lab.bare, plan | {"seconds": min(self.lab.seconds, 2)})
        seconds = min(self.lab.seconds, 2)
        return {
            "rest": real["per_second"],
            "rest_p50": real["p50_ms"],
            "rest_p99": real["p99_ms"],
            "bare_http": bare["per_second"],
            "pgbench_1": pgbench.transactions_per_second(self.lab.data, 1, seconds, TEXT),
            "pgbench_64": pgbench.ROWS
            * pgbench.transactions_per_second(self.lab.data, pgbench.ROWS, seconds, TEXT),
        }

    def _drive(self, server: stack.Child, plan: dict[str, Any], of: str | None = None) -> dict[str, Any]:
        return self.lab.drive("rest", plan | {"port": server.port, "host": f"127.0.0.1:{server.port}"}, of=of)


class Sockets(Measure):
    """Durable appends over sockets."""

    name = "sockets"

    def prepare(self) -> None:
        self.sockets = _the_pairs().sockets

    def round(self) -> Figures:
        plan = {"sockets": self.sockets, "in_flight": 16}
        real = self.lab.drive("sends", plan | {"port": self.lab.web.port}, of=self.name)
        bare = self.lab.drive(
            "sends", plan | {"port": self.lab.bare.port, "seconds": min(self.lab.seconds, 2)}
        )
        publishes = self.lab.drive(
            "publishes", {"url": settings.FLEETLM.redis_url, "payload": "x" * 400, "seconds": 1}
        )
        return {
            "sockets": real["per_second"],
            "bare_sockets": bare["per_second"],
            "publishes": publishes["per_second"],
        }


class Latency(Measure):
    """From a send to the other member's socket."""

    name = "latency"
    rate = 200

    def prepare(self) -> None:
        some = list(zip(_the_pairs().keys, _Pairs.pairs, strict=True))[:20]
        self.pairs = [{"key": key, "tokens": [seed.token(one) for one in pair]} for key, pair in some]

    def round(self) -> Figures:
        plan = {"pairs": self.pairs, "rate": self.rate}
        real = self.lab.drive("latency", plan | {"port": self.lab.web.port}, of=self.name)
        bare = self.lab.drive(
            "latency", plan | {"port": self.lab.bare.port, "seconds": min(self.lab.seconds, 2)}
        )
        return {
            "latency_p50": real["p50_ms"],
            "latency_p99": real["p99_ms"],
            "bare_latency_p99": bare["p99_ms"],
        }


class FanOut(Measure):
    """One conversation that many sockets follow."""

    name = "fanout"
    key = "fan-out"
    readers = 200

    def prepare(self) -> None:
        members = [f"viewer-{n}" for n in range(self.readers)]
        seed.groups({self.key: ["speaker", *members]})
        self.tokens = [seed.token(one) for one in members]

    def round(self) -> Figures:
        plan = {"key": self.key, "speaker": seed.token("speaker"), "readers": self.tokens, "window": 64}
        plan |= {"seconds": max(self.lab.seconds * 0.7, 2)}
        real = self.lab.drive("fanout", plan | {"port": self.lab.web.port}, of=self.name)
        bare = self.lab.drive("fanout", plan | {"port": self.lab.bare.port, "seconds": 2})
        return {
            "fanout": real["most_per_second"],
            "fanout_kept_up": real["kept_up_per_second"],
            "fanout_p99": real["kept_up_p99_ms"],
            "bare_fanout": bare["most_per_second"],
        }


class Idle(Measure):
    """Memory of an idle joined socket. It has servers of its own: memory once freed would hide what a socket takes."""

    name = "idle"
    stage = 1_000
    warm_up = 100

    def prepare(self) -> None:
        self.stages = 1 if self.lab.quick else 3
        total = self.warm_up + self.stage * self.stages
        pairs = [(f"idle-{n}-a", f"idle-{n}-b") for n in range(total // 2)]
        keys = seed.dms(pairs)
        places = [(seed.token(one), key) for key, pair in zip(keys, pairs, strict=True) for one in pair]
        edges = [0, *range(self.warm_up, total + 1, self.stage)]
        self.places = [places[start:end] for start, end in pairwise(edges)]
        self._rounds: list[Figures] = []

    def round(self) -> Figures:
        if not self._rounds:
            real, bare = self._measure(stack.web), self._measure(stack.bare)
            self._rounds = [{"idle": one, "bare_idle": other} for one, other in zip(real, bare, strict=True)]
        return self._rounds.pop(0)

    def _measure(self, make: Any) -> list[float]:
        with make(self.lab.data) as server:
            server.wait_until_it_answers()
            plan = {"pid": server.pid, "port": server.port, "stages": self.places}
            kib: list[float] = self.lab.drive("idle", plan)["kib"]
            return kib


class Agents(Measure):
    """A backlog of due calls, one for each conversation, worked off by one dispatcher; alone, and beside dead streams."""

    name = "agents"
    agent_id = "bench-agent"
    dead_id = "dead-agent"

    def prepare(self) -> None:
        self.calls = 1_000 if self.lab.quick else 5_000
        port = free_port()
        secret = seed.agent(self.agent_id, f"http://127.0.0.1:{port}/", self.calls)
        self.receiver = self.lab.processes.enter_context(stack.receiver(self.lab.data, port, secret))
        self.receiver.wait_until_it_answers()
        self.dead = 5_000 if self.lab.quick else 50_000
        seed.dead_agent(self.dead_id, self.dead)

    def round(self) -> Figures:
        self._work_off()  # the first backlog after a pause warms caches up
        alone = self._work_off()
        if (buried := seed.bury(self.dead_id)) != self.dead:
            self.lab.faults.append(f"agents: {buried} dead streams instead of {self.dead}")
        beside = self._work_off()
        seed.dig_up(self.dead_id)
        again = self._work_off()
        plan = {
            "port": self.receiver.port,
            "connections": 100,
            "body": "x" * 900,
            "seconds": min(self.lab.seconds, 2),
        }
        posts = self.lab.drive("posts", plan)
        return {
            "agents": (alone + again) / 2,
            "agents_dead": beside,
            "agents_dead_ratio": 2 * beside / (alone + again),
            "plain_posts": posts["per_second"],
        }

    def _work_off(self) -> float:
        """Calls per second of one backlog."""
        seed.make_due(self.agent_id)
        url = f"http://127.0.0.1:{self.receiver.port}/wait?calls={self.calls}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            result = json.load(answer)
        self._check(result)
        return float((result["calls"] - 1) / (result["seconds"] or 1))

    def _check(self, result: dict[str, Any]) -> None:
        if result["calls"] != self.calls or result["different"] != self.calls or result["unsigned"]:
            self.lab.faults.append(f"agents: {self.calls} conversations were due, and this came: {result}")
        if not stack.until(lambda: not seed.undelivered(self.agent_id), 5):
            self.lab.faults.append("agents: some conversations were called but not marked as delivered")


MEASURES: dict[str, type[Measure]] = {one.name: one for one in (Rest, Sockets, Latency, FanOut, Idle, Agents)}


@contextmanager
def lab(data: Path, *, quick: bool) -> Iterator[Lab]:
    """A lab on running engines, with the tables made."""
    with ExitStack() as processes:
        pace = (1.5, 0.5) if quick else (5.0, 0.7)
        yield Lab(data, seed.prepare(), *pace, quick, processes)
