"""One conversation that many sockets follow."""

from typing import Any

from bench import seed
from bench.measures.measure import Figures, Measure
from bench.processes import Child


class FanOut(Measure):
    """200 members."""

    name = "fanout"
    readers = 200

    def prepare(self) -> None:
        viewers = self.viewers()
        seed.groups({self.key(workers): ["speaker", *viewers] for workers in (1, 2)})
        self.tokens = [seed.token(one) for one in viewers]

    def viewers(self) -> list[str]:
        """Who follows."""
        return [f"{self.name}-viewer-{n}" for n in range(self.readers)]

    def key(self, workers: int) -> str:
        """A conversation for each server."""
        return f"{self.name}-{workers}"

    def round(self, server: Child) -> Figures:
        result = self.lab.drive(self.name, "fanout", self._plan(server), server)
        return {
            self.name: result["most_per_second"],
            f"{self.name}_kept_up": result["kept_up_per_second"],
            f"{self.name}_p99": result["kept_up_p99_ms"],
        }

    def _plan(self, server: Child) -> dict[str, Any]:
        return {"key": self.key(server.workers), "speaker": seed.token("speaker"), "readers": self.tokens}

    def ceilings(self) -> Figures:
        bare = self.lab.ceiling(self.name, "fanout", self._plan(self.lab.bare), self.lab.bare)
        return {f"bare_{self.name}": bare["most_per_second"]}


class FanOutWide(FanOut):
    """2,000 members."""

    name = "fanout-2000"
    rounds = 1
    readers = 2_000


class Broadcast(FanOut):
    """5,000 sockets of the log that everyone may read; who follows is a member of nothing."""

    name = "broadcast"
    rounds = 1
    readers = 5_000

    def prepare(self) -> None:
        if self.lab.quick:
            self.readers = 1_000
        seed.admin_of("broadcast", "speaker")
        self.tokens = [seed.token(one) for one in self.viewers()]

    def key(self, workers: int) -> str:
        return "broadcast"

    def ceilings(self) -> Figures:
        return {}
