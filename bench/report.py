"""The figures as a table: medians of the rounds beside the goals and what the machine could do at best."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from bench.rows import ROWS, Row

Rounds = Mapping[str, Sequence[float]]
"""Each figure's values, one for each round."""

CEILINGS: Final = "ceilings"
MARKS: Final = ("✗", "✓", "✓✓")
"""No goal is reached, the first one is, the final one is."""


def medians(rounds: Rounds) -> dict[str, float]:
    """Each figure's median."""
    return {name: median(values) for name, values in rounds.items() if values}


def table(rounds: Mapping[str, Rounds]) -> str:
    """The table, without the rows that were not measured. `rounds` are by number of web processes, and the ceilings'."""
    columns = [name for name in rounds if name != CEILINGS]
    ceilings = medians(rounds.get(CEILINGS, {}))
    titles = "".join(f"{_title(name):>29}   " for name in columns)
    ratio = f"{'2 : 1':>6}" if len(columns) == 2 else ""
    lines = [f"{'':58}{'goals':>17}  {titles}{ratio}   ceilings"]
    for row in ROWS:
        values = [rounds[name].get(row.figure, ()) for name in columns]
        if any(values):
            cells = "".join(_cell(row, one) for one in values)
            against = " · ".join(
                f"{word} {_number(ceilings[name])}" for word, name in row.ceilings if name in ceilings
            )
            lines.append(f"{row.what:58}{_goals(row):>17}  {cells}{_ratio(values)}   {against}".rstrip())
    return "\n".join(lines)


def _title(workers: str) -> str:
    return f"{workers} web process{'' if workers == '1' else 'es'}"


def _goals(row: Row) -> str:
    return " · ".join(_number(goal) for goal in row.goals) if row.goals else ""


def _cell(row: Row, values: Sequence[float]) -> str:
    """The median, the spread of the rounds, and which goals the median reaches."""
    if not values:
        return " " * 32
    middle = median(values)
    spread = f"({_number(min(values))} – {_number(max(values))})" if len(values) > 1 else ""
    mark = MARKS[row.reached(middle)] if row.goals else ""
    return f"{_number(middle):>9} {spread:<19} {mark:<2}"


def _ratio(values: Sequence[Sequence[float]]) -> str:
    if len(values) != 2:
        return ""
    if not all(values) or not median(values[0]):
        return " " * 6
    return f"{median(values[1]) / median(values[0]):>6.2f}"


def busy(cpu: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Who used how much of a core during each measure."""
    lines = []
    for where, shares in cpu.items():
        names = {name for one in shares for name in one}
        middle = {name: median(one.get(name, 0.0) for one in shares) for name in names}
        shown = sorted(((share, name) for name, share in middle.items() if share >= 0.01), reverse=True)
        lines.append(f"  {where:24} " + " · ".join(f"{name} {share:.0%}" for share, name in shown))
    return "Share of one core while it counted (×1, ×2: web processes):\n" + "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
