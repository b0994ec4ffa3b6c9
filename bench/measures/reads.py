"""What a client asks for when it comes: what it has missed, and its inbox."""

from bench import seed
from bench.lab import TEXT
from bench.measures.measure import Figures, Measure
from bench.processes import Child

CONVERSATIONS = 20


class Joins(Measure):
    """A join after which 1,000 messages were missed: one at a time, and 16 at once."""

    name = "join"
    missed = 1_000
    at_once = 16

    def prepare(self) -> None:
        pairs = [("returning", f"absent-{n}") for n in range(CONVERSATIONS)]
        self.keys = seed.dms(pairs)
        seed.history(self.keys, self.missed + 1, TEXT)
        self.token = seed.token("returning")

    def round(self, server: Child) -> Figures:
        plan = {"keys": self.keys, "token": self.token, "missed": self.missed, "last_seq": self.missed + 1}
        alone = self.lab.drive(self.name, "joins", plan | {"sockets": 1}, server)
        crowd = self.lab.drive(
            f"{self.name}, {self.at_once} at once", "joins", plan | {"sockets": self.at_once}, server
        )
        return {
            "join_p50": alone["p50_ms"],
            "join_p99": alone["p99_ms"],
            "join_per_second": crowd["per_second"],
        }


class Inbox(Measure):
    """The snapshot of an inbox of 1,000 conversations: one at a time, and 8 at once."""

    name = "inbox"
    participant = "busy"
    conversations = 1_000
    at_once = 8

    def prepare(self) -> None:
        keys = seed.dms((self.participant, f"friend-{n}") for n in range(self.conversations))
        seed.history(keys, 1, TEXT)
        self.token = seed.token(self.participant)

    def round(self, server: Child) -> Figures:
        plan = {"participant": self.participant, "entries": self.conversations, "key": self.token}
        alone = self.lab.drive(self.name, "inbox", plan | {"connections": 1}, server)
        crowd = self.lab.drive(
            f"{self.name}, {self.at_once} at once", "inbox", plan | {"connections": self.at_once}, server
        )
        return {
            "inbox_p50": alone["p50_ms"],
            "inbox_p99": alone["p99_ms"],
            "inbox_per_second": crowd["per_second"],
        }
