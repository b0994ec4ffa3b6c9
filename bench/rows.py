"""The lines of the table: what each figure means, both goals, and what to hold it against."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `goals` are the first and the final one. `ceilings` are pairs of a word and a figure's name.

    Less is better where `lower` says so.
    """

    measure: str
    what: str
    figure: str
    goals: tuple[float, float] | None = None
    ceilings: tuple[tuple[str, str], ...] = ()
    lower: bool = False

    def reached(self, value: float) -> int:
        """How many of the goals are reached."""
        return sum(value <= goal if self.lower else value >= goal for goal in self.goals or ())


ROWS: Final = (
    Row("rest", "REST appends/s, 32 connections, 100 conversations", "rest", (3_000, 6_000),
        (("bare server", "bare_http"), ("pgbench 1 row", "pgbench_1"), ("64 rows", "pgbench_64"))),
    Row("rest", "  their latency p50, ms", "rest_p50", lower=True),
    Row("rest", "  p99, ms", "rest_p99", lower=True),
    Row("rest-1", "REST appends/s, 1 connection", "rest-1"),
    Row("rest-1", "  their latency p50, ms", "rest-1_p50", lower=True),
    Row("rest-128", "REST appends/s, 128 connections", "rest-128"),
    Row("rest-128", "  their latency p99, ms", "rest-128_p99", lower=True),
    Row("rest-one", "REST appends/s, 32 connections, 1 conversation", "rest-one"),
    Row("rest-many", "REST appends/s, 32 connections, 10,000 conversations", "rest-many"),
    Row("sockets", "socket appends/s, 32 sockets, 16 under way on each", "sockets", (6_000, 10_000),
        (("bare server", "bare_sockets"), ("Valkey publishes", "publishes"))),
    Row("batch", "messages/s in batches of 50, 8 connections", "batch", None, (("pgbench 64 rows", "pgbench_64"),)),
    Row("batch", "  latency of a batch p50, ms", "batch_p50", lower=True),
    Row("latency", "send → other member's socket at 200/s, p50, ms", "latency_p50", None,
        (("bare server", "bare_latency_p50"),), lower=True),
    Row("latency", "  p99, ms", "latency_p99", (10, 4), (("bare server", "bare_latency_p99"),), lower=True),
    Row("latency-2000", "send → other member's socket at 2,000/s, p50, ms", "latency-2000_p50", None,
        (("bare server", "bare_latency-2000_p50"),), lower=True),
    Row("latency-2000", "  p99, ms", "latency-2000_p99", None, (("bare server", "bare_latency-2000_p99"),), lower=True),
    Row("fanout", "deliveries/s to 200 sockets of one conversation", "fanout", (60_000, 150_000),
        (("bare server", "bare_fanout"),)),
    Row("fanout", "  kept up at a steady 80 % of it", "fanout_kept_up"),
    Row("fanout", "  latency of those p99, ms", "fanout_p99", lower=True),
    Row("fanout-2000", "deliveries/s to 2,000 sockets", "fanout-2000", None, (("bare server", "bare_fanout-2000"),)),
    Row("fanout-2000", "  kept up at a steady 80 % of it", "fanout-2000_kept_up"),
    Row("fanout-2000", "  latency of those p99, ms", "fanout-2000_p99", lower=True),
    Row("broadcast", "deliveries/s of the broadcast to 5,000 sockets", "broadcast"),
    Row("broadcast", "  kept up at a steady 80 % of it", "broadcast_kept_up"),
    Row("broadcast", "  latency of those p99, ms", "broadcast_p99", lower=True),
    Row("idle", "KiB per idle joined socket", "idle", (45, 30), (("bare server", "bare_idle"),), lower=True),
    Row("join", "join after 1,000 missed messages, until the last, p50, ms", "join_p50", lower=True),
    Row("join", "  p99, ms", "join_p99", lower=True),
    Row("join", "  such joins/s, 16 at once", "join_per_second"),
    Row("inbox", "inbox snapshot of 1,000 conversations, p50, ms", "inbox_p50", lower=True),
    Row("inbox", "  p99, ms", "inbox_p99", lower=True),
    Row("inbox", "  such snapshots/s, 8 at once", "inbox_per_second"),
    Row("agents", "agent calls/s, one dispatcher, signed, in order", "agents", (2_000, 6_000),
        (("plain posts", "plain_posts"),)),
    Row("agents", "  beside 50,000 dead streams (5,000 with --quick)", "agents_dead"),
    Row("agents", "  that as a share of those without them", "agents_dead_ratio"),
    Row("deltas", "streamed chunks/s to 5 sockets each of 20 runs", "deltas"),
    Row("deltas", "  delta frames/s that carried them", "deltas_frames"),
    Row("deltas", "  chunks/s that the agents said", "deltas_said"),
)  # fmt: skip
