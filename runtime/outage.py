"""What a background loop does while Postgres is away: say it once, try again at growing intervals, say when
it is over."""

import logging
from typing import Final

import psycopg

DATABASE_AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, OSError)
"""What psycopg and its pool raise when a connection cannot be had, breaks, or is told to end."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0

logger = logging.getLogger(__name__)


class Outage:
    """The outages of one loop, one after the other. `doing` names, for the log, what has to wait."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._pause = 0.0

    def pause(self, error: Exception) -> float:
        """Seconds to wait before the next try, from 0.2 doubling to 2."""
        if not self._pause:
            logger.warning("Postgres cannot be used; %s waits until it returns: %s", self._doing, error)
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        return self._pause

    def over(self) -> None:
        """It works."""
        if self._pause:
            logger.warning("Postgres is back; %s goes on", self._doing)
        self._pause = 0.0
