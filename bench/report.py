"""The figures as a table: the median of the rounds, the first goal, and what the machine could do at best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

Rounds = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ceilings` are pairs of a word and a figure's name; less is better where `lower` says so."""

    measure: str
    what: str
    figure: str
    goal: float | None
    ceilings: tuple[tuple[str, str], ...] = ()
    lower: bool = False

    def reached(self, value: float) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return value <= self.goal if self.lower else value >= self.goal


ROWS: Final = (
    Row("rest", "durable appends/s, REST, auth on, 32 connections", "rest", 3_000,
        (("bare server", "bare_http"), ("pgbench 1 row", "pgbench_1"), ("64 rows", "pgbench_64"))),
    Row("rest", "  their latency p50, ms", "rest_p50", None, lower=True),
    Row("rest", "  their latency p99, ms", "rest_p99", None, lower=True),
    Row("sockets", "durable appends/s, 32 sockets, 16 sends under way on each", "sockets", 6_000,
        (("bare server", "bare_sockets"), ("Valkey publishes", "publishes"))),
    Row("latency", "send → other member's socket at 200/s, p50, ms", "latency_p50", None, lower=True),
    Row("latency", "  p99, ms", "latency_p99", 10, (("bare server", "bare_latency_p99"),), lower=True),
    Row("fanout", "deliveries/s to 200 sockets of one conversation, most", "fanout", 60_000,
        (("bare server", "bare_fanout"),)),
    Row("fanout", "  kept up at a steady 80 % of it", "fanout_kept_up", None),
    Row("fanout", "  latency of those, p99, ms", "fanout_p99", None, lower=True),
    Row("idle", "KiB per idle joined socket", "idle", 45, (("bare server", "bare_idle"),), lower=True),
    Row("agents", "agent calls/s, one dispatcher, signed, in order", "agents", 2_000, (("plain posts", "plain_posts"),)),
    Row("agents", "  beside 50,000 dead streams (5,000 with --quick)", "agents_dead", None),
    Row("agents", "  that as a share of those without them", "agents_dead_ratio", 0.8),
)  # fmt: skip


def medians(rounds: Rounds) -> dict[str, float]:
    """Each figure's median."""
    return {name: median(values) for name, values in rounds.items() if values}


def table(rounds: Rounds) -> str:
    """The table, without the rows that were not measured."""
    values = medians(rounds)
    lines = [f"{'':58} {'median':>9} {'rounds':>19} {'goal':>8}       ceilings"]
    for row in ROWS:
        if row.figure not in values:
            continue
        value, spread = values[row.figure], rounds[row.figure]
        between = f"{_number(min(spread))} – {_number(max(spread))}"
        mark = {None: " ", True: "✓", False: "✗"}[row.reached(value)]
        goal = "" if row.goal is None else _number(row.goal)
        ceilings = " · ".join(
            f"{word} {_number(values[name])}" for word, name in row.ceilings if name in values
        )
        lines.append(
            f"{row.what:58} {_number(value):>9} {between:>19} {goal:>8} {mark}     {ceilings}".rstrip()
        )
    return "\n".join(lines)


def busy(cpu: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Who used how much of a core during each measure."""
    lines = []
    for measure, shares in cpu.items():
        names = {name for one in shares for name in one}
        means = {name: median(one.get(name, 0.0) for one in shares) for name in names}
        shown = sorted(((share, name) for name, share in means.items() if share >= 0.01), reverse=True)
        lines.append(f"  {measure:8} " + " · ".join(f"{name} {share:.0%}" for share, name in shown))
    return "Share of one core while it ran:\n" + "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
