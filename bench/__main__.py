"""`python -m bench [--quick] [--processes 1|2|both] [--only NAME …] [--json FILE]`: measure, check, print.

Servers with one and with two web processes stand side by side and take turns. Exit code 1 when a check fails.
"""

import argparse
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import django
import orjson

from bench import machine, report, stack
from bench.rows import ROWS

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.measures import Measure

NAMES = tuple(dict.fromkeys(row.measure for row in ROWS))
WORKERS = {"1": [1], "2": [2], "both": [1, 2]}
CEILING_ROUNDS = 2

Rounds = defaultdict[str, defaultdict[str, list[float]]]


def main() -> int:
    """Run the chosen measures in alternating rounds."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    began = perf_counter()
    about = machine.facts()
    print(
        f"{about['processor']}, {about['cores']} cores, {about['system']}, Python {about['python']}; engines with fsync"
    )
    rounds: Rounds = defaultdict(lambda: defaultdict(list))
    with stack.engines() as data:
        django.setup()
        from bench import measures, seed  # their imports need the settings, which need the engines
        from bench.lab import lab

        with lab(data, quick=arguments.quick) as run:
            chosen = [measures.MEASURES[name](run) for name in arguments.only or NAMES]
            for measure in chosen:
                measure.prepare()
            seed.analyse()
            run.start(WORKERS[arguments.processes])
            for number in range(1 if arguments.quick else max(one.rounds for one in chosen)):
                _calibrate(data, rounds)
                for measure in chosen:
                    if number < measure.rounds:
                        _measure(run, measure, number, rounds)
            run.check()
    seconds = perf_counter() - began
    _print(run, rounds, seconds)
    if arguments.json:
        everything = about | {"seconds": seconds}
        arguments.json.write_bytes(
            orjson.dumps(_as_json(run, rounds, everything), option=orjson.OPT_INDENT_2)
        )
    return 1 if run.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--processes", choices=WORKERS, default="both", help="web processes of the server")
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this; repeat it for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures to this file")
    return parser


def _calibrate(data: Path, rounds: Rounds) -> None:
    """What the machine itself was like at the time of this round."""
    rounds[report.CEILINGS]["python_loops"].append(machine.loops_per_second())
    rounds[report.CEILINGS]["syncs"].append(machine.syncs_per_second(data))


def _measure(run: "Lab", measure: "Measure", number: int, rounds: Rounds) -> None:
    """One round of a measure with each server, the first one first or last in turns, and of its ceilings."""
    servers = run.servers if measure.per_server else run.servers[:1]
    for server in servers if number % 2 == 0 else reversed(servers):
        name = str(server.workers) if measure.per_server else "1"
        _note(number, f"{measure.name} ×{name}", measure.round(server), rounds[name])
    if number < CEILING_ROUNDS and (ceilings := measure.ceilings()):
        _note(number, f"{measure.name} ceilings", ceilings, rounds[report.CEILINGS])


def _note(
    number: int, what: str, figures: Mapping[str, float], rounds: defaultdict[str, list[float]]
) -> None:
    for name, value in figures.items():
        rounds[name].append(value)
    shown = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
    print(f"round {number + 1}  {what:22} {shown}", flush=True)


def _print(run: "Lab", rounds: Rounds, seconds: float) -> None:
    machine_like = report.medians(rounds[report.CEILINGS])
    ordered = {name: rounds[name] for name in sorted(rounds)}
    print(f"\n{report.table(ordered)}\n\n{report.busy(run.cpu)}\n")
    print(
        f"This machine: {machine_like['python_loops']:.0f} million turns of an empty Python loop and "
        f"{machine_like['syncs']:,.0f} fsyncs of 8 KiB a second"
    )
    for warning in run.warnings():
        print(f"WARNING {warning}")
    print(f"\n{_verdict(run)} ({seconds:.0f} s)")


def _as_json(run: "Lab", rounds: Rounds, about: Mapping[str, object]) -> dict[str, object]:
    return {
        "machine": about,
        "medians": {name: report.medians(values) for name, values in rounds.items()},
        "rounds": rounds,
        "cpu": run.cpu,
        "warnings": run.warnings(),
        "faults": run.faults,
    }


def _verdict(run: "Lab") -> str:
    if run.faults:
        return "CHECKS FAILED\n" + "\n".join(f"  {fault}" for fault in run.faults)
    return (
        f"Checks passed: {run.acknowledged.total():,} acknowledged appends are stored, once each, every log is 1, 2, 3 … to "
        "its head, every joined socket got every message once and in order"
    )


if __name__ == "__main__":
    sys.exit(main())
