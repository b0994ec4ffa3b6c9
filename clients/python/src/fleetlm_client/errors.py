"""What can go wrong between this client and a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

UNREACHABLE: Final = "unreachable"
INVALID_ANSWER: Final = "invalid_answer"
TOKEN_EXPIRED: Final = "token_expired"  # noqa: S105  # the name of an error
CLOSED: Final = "closed"

PASSING: Final = frozenset(
    {UNREACHABLE, "unavailable", "overloaded", "rate_limited", "draining", "token_unavailable"}
)
"""Codes of errors that pass by themselves."""


class FleetLMError(Exception):
    """It cannot be done.

    `code` is the server's own and stable, or one of this client: `unreachable` (no connection could be made or kept),
    `invalid_answer` (whoever answered is no FleetLM), `token_unavailable` (the token function failed, or took too long),
    `closed` (this client was closed). `status` is that of HTTP where there was one; `details` are for programs;
    `retry_after` is in seconds, if the server said so.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether the same again may well succeed later."""
        return self.code in PASSING

    def as_dict(self) -> dict[str, Any]:
        """The shape that the server's errors have too."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.code, self.message, self.status, self.details, self.retry_after)


def unreachable(message: str) -> FleetLMError:
    """The server was not reached, or not any more."""
    return FleetLMError(UNREACHABLE, message)


def error_of(
    body: Any, otherwise: str, *, status: int | None = None, retry_after: float | None = None
) -> FleetLMError:
    """The error in a server's answer; `otherwise` is said of an answer that holds none."""
    fault = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fault, dict) or not isinstance(fault.get("code"), str):
        code = UNREACHABLE if status in (502, 503, 504) else INVALID_ANSWER  # said by a proxy in between
        return FleetLMError(code, otherwise, status=status, retry_after=retry_after)
    details = fault.get("details")
    details = details if isinstance(details, dict) else {}
    if retry_after is None and isinstance(details.get("retry_after"), int | float):
        retry_after = float(details["retry_after"])
    return FleetLMError(
        fault["code"],
        str(fault.get("message", otherwise)),
        status=status,
        details=details,
        retry_after=retry_after,
    )


def _rebuilt(
    code: str, message: str, status: int | None, details: dict[str, Any], retry_after: float | None
) -> FleetLMError:
    return FleetLMError(code, message, status=status, details=details, retry_after=retry_after)
