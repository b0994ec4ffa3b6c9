"""`python -m bench [--quick] [--only NAME …] [--json FILE]`: measure, check, print. Exit code 1 when a check fails."""

import argparse
import os
import platform
import sys
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import django
import orjson

from bench import report, stack

if TYPE_CHECKING:
    from bench.measures import Lab

ROUNDS = 3
NAMES = tuple(dict.fromkeys(row.measure for row in report.ROWS))


def main() -> int:
    """Run the chosen measures in alternating rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round of each instead of three of 5 s"
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this; repeat it for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures to this file")
    arguments = parser.parse_args()
    began = perf_counter()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; engines with fsync"
    )
    with stack.engines() as data:
        django.setup()
        from bench import measures  # its imports need the settings, which need the engines

        rounds: defaultdict[str, list[float]] = defaultdict(list)
        with measures.lab(data, quick=arguments.quick) as lab:
            chosen = [measures.MEASURES[name](lab) for name in arguments.only or NAMES]
            for measure in chosen:
                measure.prepare()
            lab.start()
            for number in range(1 if arguments.quick else ROUNDS):
                for measure in chosen:
                    figures = measure.round()
                    for name, value in figures.items():
                        rounds[name].append(value)
                    shown = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
                    print(f"round {number + 1}  {measure.name:8} {shown}", flush=True)
    print(
        f"\n{report.table(rounds)}\n\n{report.busy(lab.cpu)}\n\n{_verdict(lab)} ({perf_counter() - began:.0f} s)"
    )
    if arguments.json:
        arguments.json.write_bytes(
            orjson.dumps(
                {"medians": report.medians(rounds), "rounds": rounds, "cpu": lab.cpu, "faults": lab.faults},
                option=orjson.OPT_INDENT_2,
            )
        )
    return 1 if lab.faults else 0


def _verdict(lab: "Lab") -> str:
    if lab.faults:
        return "CHECKS FAILED\n" + "\n".join(f"  {fault}" for fault in lab.faults)
    return (
        f"Checks passed: {lab.appends:,} acknowledged appends are stored, once each, every log is 1, 2, 3 … to its head, "
        "every joined socket got every message once and in order"
    )


if __name__ == "__main__":
    sys.exit(main())
