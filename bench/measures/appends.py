"""Durable appends: over REST, over sockets, in batches."""

from typing import Any, ClassVar

from django.conf import settings

from bench import pgbench
from bench.lab import TEXT
from bench.measures import people
from bench.measures.measure import Figures, Measure
from bench.processes import Child


class Rest(Measure):
    """One message for each request, over 32 connections and 100 conversations."""

    name = "rest"
    rounds = 3
    connections: ClassVar[int] = 32

    def prepare(self) -> None:
        pgbench.prepare()

    def conversations(self, server: Child) -> list[tuple[str, str]]:
        """Where it writes."""
        return people.hundred(server.workers).written

    def round(self, server: Child) -> Figures:
        result = self.lab.drive(self.name, "rest", self._plan(server), server)
        return {
            self.name: result["per_second"],
            f"{self.name}_p50": result["p50_ms"],
            f"{self.name}_p99": result["p99_ms"],
        }

    def _plan(self, server: Child) -> dict[str, Any]:
        return {"connections": self.connections, "conversations": self.conversations(server)}

    def ceilings(self) -> Figures:
        bare = self.lab.ceiling(self.name, "rest", self._plan(self.lab.bare), self.lab.bare)
        return {
            "bare_http": bare["per_second"],
            "pgbench_1": pgbench.transactions_per_second(self.lab.data, 1, TEXT),
            "pgbench_64": pgbench.ROWS * pgbench.transactions_per_second(self.lab.data, pgbench.ROWS, TEXT),
        }


class _RestVariant(Rest):
    rounds = 2

    def prepare(self) -> None:
        """The headline's ceilings are these measures' too."""

    def ceilings(self) -> Figures:
        return {}


class OneConnection(_RestVariant):
    """Each append waits for the one before it."""

    name = "rest-1"
    connections = 1


class ManyConnections(_RestVariant):
    """Four times the headline's connections."""

    name = "rest-128"
    connections = 128


class OneConversation(_RestVariant):
    """Everyone writes to the same log."""

    name = "rest-one"

    def conversations(self, server: Child) -> list[tuple[str, str]]:
        return super().conversations(server)[:1]


class TenThousandConversations(_RestVariant):
    """Hardly two appends in a row go to the same log."""

    name = "rest-many"

    def prepare(self) -> None:
        people.ten_thousand()

    def conversations(self, server: Child) -> list[tuple[str, str]]:
        return people.ten_thousand().written


class Batches(_RestVariant):
    """Fifty messages of one conversation for each request."""

    name = "batch"
    connections = 8

    def _plan(self, server: Child) -> dict[str, Any]:
        return super()._plan(server) | {"batch": 50}


class Sockets(Measure):
    """Over 32 sockets, with 16 sends under way on each."""

    name = "sockets"
    rounds = 3

    def round(self, server: Child) -> Figures:
        return {"sockets": self.lab.drive(self.name, "sends", self._plan(server), server)["per_second"]}

    def _plan(self, server: Child) -> dict[str, Any]:
        return {"sockets": people.hundred(server.workers).sockets, "in_flight": 16}

    def ceilings(self) -> Figures:
        publishes = {"url": settings.FLEETLM.redis_url, "payload": "x" * 400}
        return {
            "bare_sockets": self.lab.ceiling(self.name, "sends", self._plan(self.lab.bare), self.lab.bare)[
                "per_second"
            ],
            "publishes": self.lab.ceiling(self.name, "publishes", publishes)["per_second"],
        }
