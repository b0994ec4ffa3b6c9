"""From a send to the other member's socket, at a fixed rate."""

from typing import Any, ClassVar

from bench import seed
from bench.measures import people
from bench.measures.measure import Figures, Measure
from bench.processes import Child

PAIRS = 20


class Calm(Measure):
    """200 messages a second."""

    name = "latency"
    rounds = 3
    rate: ClassVar[int] = 200

    def round(self, server: Child) -> Figures:
        result = self.lab.drive(self.name, "latency", self._plan(server), server)
        return {
            f"{self.name}_p50": result["p50_ms"],
            f"{self.name}_p99": result["p99_ms"],
            f"{self.name}_driver_late_p99": result["late_p99_ms"],
        }

    def _plan(self, server: Child) -> dict[str, Any]:
        pairs = people.hundred(server.workers)
        some = list(zip(pairs.keys, pairs.people, strict=True))[:PAIRS]
        both = [{"key": key, "tokens": [seed.token(one) for one in pair]} for key, pair in some]
        return {"pairs": both, "rate": self.rate}

    def ceilings(self) -> Figures:
        bare = self.lab.ceiling(self.name, "latency", self._plan(self.lab.bare), self.lab.bare)
        return {f"bare_{self.name}_p50": bare["p50_ms"], f"bare_{self.name}_p99": bare["p99_ms"]}


class Busy(Calm):
    """2,000 messages a second."""

    name = "latency-2000"
    rounds = 2
    rate = 2_000
