"""`python -m bench.growth [--messages N] [--experiments]`: a database of ten million messages against an almost empty one.

Loads both into one cluster, checks the plans of the server's statements against the full one, then measures both in turns.
Exit code 1 when a plan reads too much or an acknowledged append is not stored. Takes ten minutes and 6 GB of disk.
"""

import argparse
import asyncio
import sys
from contextlib import ExitStack

import django

from bench import stack


def main() -> int:
    """Do so."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000, help="in the full database")
    parser.add_argument("--rounds", type=int, default=6, help="of appends, in each database")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round")
    parser.add_argument(
        "--experiments",
        action="store_true",
        help="also what each index costs, and what partitions would change",
    )
    arguments = parser.parse_args()
    with stack.engines() as data:
        django.setup()
        from django.conf import settings

        # Their imports need the settings, which need the engines.
        from bench.growth import databases, experiments, plans, report, sample, shape, timings

        beside = settings.FLEETLM.database_url
        small = databases.make("small", beside, shape.SMALL)
        large = databases.make("large", beside, shape.large(arguments.messages))
        print(report.shapes(small, large), flush=True)
        samples = {one.name: sample.take(one.url, one.shape) for one in (small, large)}
        faults = asyncio.run(plans.faults(large.url, samples["large"]))
        with ExitStack() as webs:
            places = [
                (one, samples[one.name], webs.enter_context(databases.web(data, one)))
                for one in (small, large)
            ]
            appends = timings.appends(places, rounds=arguments.rounds, seconds=arguments.seconds)
        journeys = asyncio.run(
            timings.journeys([(one, samples[one.name]) for one in (small, large)], rounds=4)
        )
        print(f"\n{report.table(appends, journeys)}\n\n{report.hot(appends)}", flush=True)
        if arguments.experiments:
            print(f"\n{experiments.run(large, samples['large'])}", flush=True)
    faults += [fault for one in appends.values() for fault in one.faults]
    print(
        "\nCHECKS FAILED\n  " + "\n  ".join(faults)
        if faults
        else "\nAll plans and all appends are as they should be."
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
