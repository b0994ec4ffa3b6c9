"""What is measured, a file for each theme."""

from typing import Final

from bench.measures.agents import Agents
from bench.measures.appends import (
    Batches,
    ManyConnections,
    OneConnection,
    OneConversation,
    Rest,
    Sockets,
    TenThousandConversations,
)
from bench.measures.deltas import Deltas
from bench.measures.fanout import Broadcast, FanOut, FanOutWide
from bench.measures.latency import Busy, Calm
from bench.measures.measure import Figures, Measure
from bench.measures.memory import Idle
from bench.measures.reads import Inbox, Joins

__all__ = ["MEASURES", "Figures", "Measure"]

_ALL: Final[tuple[type[Measure], ...]] = (
    Rest,
    OneConnection,
    ManyConnections,
    OneConversation,
    TenThousandConversations,
    Sockets,
    Batches,
    Calm,
    Busy,
    FanOut,
    FanOutWide,
    Broadcast,
    Idle,
    Joins,
    Inbox,
    Agents,
    Deltas,
)
MEASURES: Final = {one.name: one for one in _ALL}
