"""What every measure is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from bench.lab import Lab
from bench.processes import Child

Figures = dict[str, float]
"""Values by name."""


class Measure(ABC):
    """One thing that is measured: how it is prepared, and what one round of it and of its ceilings gives."""

    name: ClassVar[str]
    rounds: ClassVar[int] = 2
    per_server: ClassVar[bool] = True
    """Whether it is measured with each server; otherwise it is no matter of web processes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def prepare(self) -> None:  # noqa: B027  # not every measure has something to prepare
        """Make what the rounds need; before any process is started."""

    @abstractmethod
    def round(self, server: Child) -> Figures:
        """One round with this server."""

    def ceilings(self) -> Figures:
        """What the machine could do at best, at the time of this round."""
        return {}
