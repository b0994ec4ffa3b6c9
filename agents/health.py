"""How an endpoint is, in one word: the same word in every list, and as a condition to search by."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from django.db.models import Q


class Health(StrEnum):
    """From what its last calls came to. Whoever is disabled is not called, so that comes first."""

    OK = "ok"
    FAILING = "failing"
    OPEN = "open"
    """Its breaker is open: one call at a time is made, to see whether it is well again."""
    DISABLED = "disabled"
    NEVER_CALLED = "never called"


class Called(Protocol):
    """What of an endpoint tells its health."""

    enabled: bool
    failures: int
    opened_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


def health_of(endpoint: Called) -> Health:
    """The word. A failure that an operator has closed the breaker after counts until a call succeeds."""
    if not endpoint.enabled:
        return Health.DISABLED
    if endpoint.opened_at is not None:
        return Health.OPEN
    if endpoint.failures:
        return Health.FAILING
    if endpoint.last_success_at is not None:
        return Health.OK
    return Health.NEVER_CALLED if endpoint.last_failure_at is None else Health.FAILING


_CALLED_AT_ALL: Final = Q(last_success_at__isnull=False) | Q(last_failure_at__isnull=False)
_NO_SUCCESS: Final = Q(last_success_at__isnull=True, last_failure_at__isnull=False)
_CLOSED: Final = Q(enabled=True, opened_at__isnull=True)

CONDITIONS: Final[dict[Health, Q]] = {
    Health.OK: _CLOSED & Q(failures=0, last_success_at__isnull=False),
    Health.FAILING: _CLOSED & (Q(failures__gt=0) | _NO_SUCCESS),
    Health.OPEN: Q(enabled=True, opened_at__isnull=False),
    Health.DISABLED: Q(enabled=False),
    Health.NEVER_CALLED: _CLOSED & Q(failures=0) & ~_CALLED_AT_ALL,
}
"""The endpoints of each health; together they are all, and none is in two."""
