"""Memory of an idle joined socket."""

from typing import Any

from bench import processes, seed
from bench.measures.measure import Figures, Measure
from bench.processes import Child


class Idle(Measure):
    """It has servers of its own: memory once freed would hide what a socket takes."""

    name = "idle"
    rounds = 1
    warm_up = 200

    def prepare(self) -> None:
        total = self.warm_up + (1_000 if self.lab.quick else 2_000)
        pairs = [(f"idle-{n}-a", f"idle-{n}-b") for n in range(total // 2)]
        keys = seed.dms(pairs)
        self.places = [(seed.token(one), key) for key, pair in zip(keys, pairs, strict=True) for one in pair]

    def round(self, server: Child) -> Figures:
        with processes.web(self.lab.data, server.workers) as fresh:
            return {"idle": self.lab.drive(self.name, "idle", self._plan(fresh), fresh)["kib"]}

    def ceilings(self) -> Figures:
        with processes.bare(self.lab.data) as fresh:
            return {"bare_idle": self.lab.ceiling(self.name, "idle", self._plan(fresh), fresh)["kib"]}

    def _plan(self, server: Child) -> dict[str, Any]:
        server.wait_until_it_answers()
        first, then = self.places[: self.warm_up], self.places[self.warm_up :]
        return {"pids": server.serving(), "first": first, "then": then}
