"""Streamed answers of agents."""

from bench import processes, seed, seed_agents
from bench.measures.measure import Figures, Measure
from bench.processes import Child
from bench.streamer import pieces
from runtime.ports import free_port


class Deltas(Measure):
    """Twenty runs at once, each followed by several sockets."""

    name = "deltas"
    runs = 20
    sockets = 5
    chunks = 400

    def prepare(self) -> None:
        port = free_port()
        askers = [f"listener-{workers}-{n}" for workers in (1, 2) for n in range(self.runs)]
        keys = seed_agents.talker("talker", f"http://127.0.0.1:{port}/{self.chunks}", askers)
        self.places = list(zip(keys, askers, strict=True))
        self.streamer = self.lab.started.enter_context(processes.streamer(self.lab.data, port))
        self.streamer.wait_until_it_answers()

    def round(self, server: Child) -> Figures:
        first = (server.workers - 1) * self.runs
        places = self.places[first : first + self.runs]
        plan = {
            "conversations": [{"key": key, "token": seed.token(asker)} for key, asker in places],
            "sockets": self.sockets,
            "said": "".join(pieces(self.chunks)),
        }
        result = self.lab.drive(self.name, "deltas", plan, server)
        return {
            "deltas": result["received_per_second"],
            "deltas_frames": result["frames_per_second"],
            "deltas_said": result["chunks_per_second"],
        }
