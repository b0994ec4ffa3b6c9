"""Series of faults for a `FaultyProxy`, drawn from a `Random`: the same seed, the same series."""

import asyncio
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal

from tests.e2e.faulty_proxy import FAIR, FaultyProxy, Weather

Name = Literal[
    "fair",
    "cut",
    "cut_within_up",
    "cut_within_down",
    "half_open",
    "half_open_up",
    "half_open_down",
    "slow",
    "throttled",
    "refusing",
    "no_upgrades",
    "swallowing",
    "cutting",
]

WEATHERS: Final[dict[Name, Weather]] = {
    "fair": FAIR,
    "slow": Weather(delay=0.05),
    "throttled": Weather(bytes_per_second=20_000),
    "refusing": Weather(refuses=True),
    "no_upgrades": Weather(refuses_upgrades=True),
    "swallowing": Weather(swallows=True),
    "cutting": Weather(),  # after so many bytes as the fault says
}
NAMES: Final[tuple[Name, ...]] = (
    *WEATHERS,
    *("cut", "cut_within_up", "cut_within_down", "half_open", "half_open_up", "half_open_down"),
)
BYTES: Final = (1, 100, 200, 400, 800, 2_000)
"""After how many a connection is cut: in the answer to an upgrade, in a frame, between two."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One change of a proxy. `after` is in bytes, for those that cut."""

    name: Name
    after: int = 1

    def strike(self, proxy: FaultyProxy) -> None:
        """Do it."""
        match self.name:
            case "cut":
                proxy.cut()
            case "cut_within_up":
                proxy.cut(after=self.after, direction="up")
            case "cut_within_down":
                proxy.cut(after=self.after, direction="down")
            case "half_open":
                proxy.half_open()
            case "half_open_up":
                proxy.half_open("up")
            case "half_open_down":
                proxy.half_open("down")
            case "cutting":
                proxy.weather = replace(FAIR, cuts_after=self.after)
            case _:
                proxy.weather = WEATHERS[self.name]


def draw(random: Random) -> Fault:
    """Any fault."""
    return Fault(random.choice(NAMES), random.choice(BYTES))


def schedule(random: Random, count: int, longest: float = 0.2) -> list[tuple[float, Fault]]:
    """So many faults, each after a pause of up to `longest` seconds."""
    return [(random.uniform(0, longest), draw(random)) for _ in range(count)]


async def play(proxy: FaultyProxy, series: list[tuple[float, Fault]]) -> None:
    """Let these faults come one after the other, then fair weather."""
    for pause, fault in series:
        await asyncio.sleep(pause)
        fault.strike(proxy)
    proxy.weather = FAIR
