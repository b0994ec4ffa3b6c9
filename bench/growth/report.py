"""What was measured, as Markdown."""

from collections.abc import Mapping
from statistics import median

from bench.growth.databases import Database
from bench.growth.timings import Appends, Milliseconds

GOALS = (0.8, 0.95)
"""Of the append rate, full against empty: the first and the last."""


def shapes(small: Database, large: Database) -> str:
    """What is in the two databases."""
    lines = ["| | small | large |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {getattr(small.shape, name):,} | {getattr(large.shape, name):,} |"
        for name in ("messages", "conversations", "enormous", "inbox", "streams", "due")
    ]
    lines.append(f"| seconds to load | {small.load_seconds:.0f} | {large.load_seconds:.0f} |")
    return "\n".join(lines)


def table(appends: Mapping[str, Appends], journeys: Mapping[str, Milliseconds]) -> str:
    """Both databases side by side; a ratio above 1 is always to the large one's credit."""
    small, large = appends["small"], appends["large"]
    pairs = [one / other for one, other in zip(large.per_second, small.per_second, strict=True)]
    rate = median(large.per_second), median(small.per_second)
    lines = ["| | small | large | ratio |", "| --- | ---: | ---: | ---: |"]
    lines.append(
        f"| durable appends/s, REST, 32 connections (goal {GOALS[0]}, in the end {GOALS[1]}) | {rate[1]:,.0f} | {rate[0]:,.0f} "
        f"| {median(pairs):.2f} ({min(pairs):.2f} – {max(pairs):.2f}) |"
    )
    lines.append(_row("their latency p99, ms", small.p99_ms, large.p99_ms))
    lines.append(
        _row("bytes of the write-ahead log for an append", small.wal_bytes, large.wal_bytes, digits=0)
    )
    for name, values in journeys["small"].items():
        lines.append(_row(f"{name}, ms", values, journeys["large"][name]))
    return "\n".join(lines)


def hot(appends: Mapping[str, Appends]) -> str:
    """How many updates stayed in their page."""
    lines = ["| updates in place (HOT) while appending | small | large |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name} | {share:.1%} | {appends['large'].hot[name]:.1%} |"
        for name, share in sorted(appends["small"].hot.items())
    ]
    return "\n".join(lines)


def _row(name: str, small: list[float], large: list[float], digits: int = 2) -> str:
    """Of things that are better when they are less."""
    one, other = median(small), median(large)
    return f"| {name} | {one:,.{digits}f} | {other:,.{digits}f} | {one / other:.2f} |"
