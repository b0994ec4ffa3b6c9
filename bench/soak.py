"""`python -m bench.soak [--seconds 120]`: does a server's memory grow with what its users do? Exit code 1 when it does.

People come and go as fast as the server lets them; after a warm-up its memory must not grow with what they do, and when they
have gone nothing of them may be counted. With `--idle 10000` so many sockets come twice and do nothing: what does each cost?
"""

import argparse
import os
import re
import sys
import urllib.request
from collections.abc import Sequence
from itertools import islice
from statistics import linear_regression, median
from typing import Any, Final

import django

from bench import stack

TEXT = "Hello! Could you please tell me where my parcel is right now?"
GUESTS = 48
PEOPLE = 200
CONVERSATIONS = 400
WARM_UP: Final = 0.6
"""The share of the time in which caches fill."""

TAILS_BYTES: Final = 1024 * 1024
"""For the newest messages of all conversations: a server's 64 MiB do not fill in minutes, and would hide the rest."""

GROWTH_LIMIT: Final = 256 * 1024
"""Bytes that 10,000 operations may add: what a leak of 26 bytes for each of them would."""

IDLE_LIMIT_KIB: Final = 30.0
SECOND_TIME_LIMIT: Final = 0.05
"""The share by which the same crowd may take more when it comes again."""

SETTLE_SECONDS: Final = 20.0
"""Until conversations that nobody follows any more have been let go."""

GAUGES: Final = (
    "fleetlm_sockets_open",
    "fleetlm_topics_joined",
    "fleetlm_sessions_live",
    "fleetlm_append_queue_messages",
)


def main() -> int:
    """Measure one of the two, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long people come and go")
    parser.add_argument(
        "--idle", type=int, metavar="SOCKETS", help="open so many idle sockets instead, twice"
    )
    arguments = parser.parse_args()
    with stack.engines() as data:
        django.setup()
        from bench import seed  # its imports need the settings, which need the engines

        key = seed.prepare()
        plan = _crowd(arguments.idle) if arguments.idle else _guests(arguments.seconds)
        _analyze()
        os.environ["FLEETLM_TAILS_BYTES"] = str(TAILS_BYTES)
        with stack.web(data) as server:
            server.wait_until_it_answers()
            plan |= {"port": server.port, "pid": server.pid, "text": TEXT, "run": "soak"}
            result = stack.drive("crowd" if arguments.idle else "churn", plan)
            faults = list(result["faults"])
            faults += _idle(result) if arguments.idle else _churned(result)
            faults += _left_behind(server.port, key)
    shares = sorted(((share, name) for name, share in result["cpu"].items() if share >= 0.01), reverse=True)
    print("share of one core meanwhile: " + ", ".join(f"{name} {share:.0%}" for share, name in shares))
    print("\n".join(f"FAULT: {fault}" for fault in faults) or "Nothing was found wrong.")
    return 1 if faults else 0


def _analyze() -> None:
    """Rows that came in bulk: until Postgres has counted them, its plans are those of empty tables."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _crowd(sockets: int) -> dict[str, Any]:
    from bench import seed

    pairs = [(f"idle-{n}-a", f"idle-{n}-b") for n in range(sockets // 2)]
    keys = seed.dms(pairs)
    places = [(seed.token(one), key) for key, pair in zip(keys, pairs, strict=True) for one in pair]
    return {
        "places": places,
        "cycles": 2,
        "idle_seconds": 20.0,
        "beat_seconds": 10.0,
        "messages": 20,
        "gone_seconds": SETTLE_SECONDS,
    }


def _guests(seconds: float) -> dict[str, Any]:
    from bench import seed

    pairs = [
        (f"guest-{n % PEOPLE}", f"guest-{(n * 7 + n // PEOPLE + 1) % PEOPLE}") for n in range(CONVERSATIONS)
    ]
    keys = seed.dms([pair for pair in pairs if pair[0] != pair[1]])
    tokens = {name: seed.token(name) for name in sorted({one for pair in pairs for one in pair})}
    people = [(token, [key for key in keys if name in key.split(":")]) for name, token in tokens.items()]
    return {
        "people": [one for one in people if one[1]],
        "owners": {token: name for name, token in tokens.items()},
        "guests": GUESTS,
        "seconds": seconds,
    }


def _idle(result: dict[str, Any]) -> list[str]:
    """Print what the crowd cost; what is wrong with it."""
    faults = []
    cycles = result["cycles"]
    sockets = len(cycles) and result["sockets"]
    for number, one in enumerate(cycles, 1):
        each = (one["there"] - one["before"]) / sockets / 1024
        print(
            f"cycle {number}: {sockets:,} sockets joined at {one['opened_per_second']:,.0f}/s; "
            f"{_mib(one['before'])} → {_mib(one['there'])} → {_mib(one['after'])}, {each:.1f} KiB each; CPU idle "
            f"{one['idle_cpu']:.1%}, with {sockets / 10:,.0f} heartbeats/s {one['beating_cpu']:.1%}; "
            f"a message heard after {one['heard_p50_ms']:.1f} ms, at most {one['heard_most_ms']:.1f} ms"
        )
    first, second = cycles[0], cycles[-1]
    each = (first["there"] - first["before"]) / sockets / 1024
    if each > IDLE_LIMIT_KIB:
        faults.append(f"{each:.1f} KiB for each idle socket, more than {IDLE_LIMIT_KIB:.0f}")
    if second["there"] > first["there"] * (1 + SECOND_TIME_LIMIT):
        faults.append(f"the second time it took {_mib(second['there'])}, the first {_mib(first['there'])}")
    return faults


def _churned(result: dict[str, Any]) -> list[str]:
    """Print what was done and how memory went; what is wrong with it."""
    samples = result["samples"]
    settled = samples[int(len(samples) * WARM_UP) :]
    growth = slope(settled) * 10_000
    kinds = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(result["operations"].items()))
    print(f"{sum(result['operations'].values()):,} operations: {kinds}")
    for operations, rss in islice(samples, 0, None, max(len(samples) // 12, 1)):
        print(f"  after {operations:>9,}: {_mib(rss)}")
    print(f"growth after the warm-up: {growth / 1024:+,.1f} KiB per 10,000 operations")
    if growth > GROWTH_LIMIT:
        return [f"memory grows by {growth / 1024:,.0f} KiB per 10,000 operations"]
    return []


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Bytes for each operation: a line through the medians of twelve stretches, so that no single sample weighs much."""
    size = max(len(samples) // 12, 1)
    stretches = [samples[start : start + size] for start in range(0, len(samples), size)]
    points = [(median(x for x, _ in one), median(y for _, y in one)) for one in stretches]
    return linear_regression([x for x, _ in points], [y for _, y in points]).slope


def _left_behind(port: int, key: str) -> list[str]:
    """Gauges that do not come back to zero."""
    left: dict[str, float] = {}
    if stack.until(lambda: not left.update(_gauges(port, key)) and not any(left.values()), SETTLE_SECONDS):
        return []
    return [f"{name} is {value:g} when everyone has gone" for name, value in left.items() if value]


def _gauges(port: int, key: str) -> dict[str, float]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310  # our own URL
        lines = answer.read().decode().splitlines()
    found = dict.fromkeys(GAUGES, 0.0)
    for line in lines:
        if (match := re.match(r"(\w+)(?:\{.*\})? (\S+)$", line)) and match[1] in found:
            found[match[1]] += float(match[2])
    return found


def _mib(size: float) -> str:
    return f"{size / 1024 / 1024:,.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
