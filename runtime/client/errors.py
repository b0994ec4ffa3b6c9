"""What can go wrong between this client and a server."""

from typing import Any


class ClientError(Exception):
    """It cannot be done: `code` is the server's own, or `unreachable`, `closed`, `invalid_answer`."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}

    def as_dict(self) -> dict[str, Any]:
        """The shape that the server's errors have too."""
        return {"error": {"code": self.code, "message": str(self), "details": self.details}}


class Disconnected(ClientError):
    """The connection is gone, or the server asks to come back: trying again may help."""

    def __init__(self, message: str, code: str = "unreachable") -> None:
        super().__init__(code, message)


PASSING = frozenset({"unavailable", "overloaded", "rate_limited", "draining"})
"""Codes of errors that pass by themselves."""


def reason(error: Exception) -> str:
    """What a failed connection says of itself; a timeout says nothing."""
    return str(error) or "no answer in time"


def error_of(body: Any, otherwise: str) -> ClientError:
    """The error in a server's answer; `otherwise` is said of an answer that holds none."""
    fault = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fault, dict):
        return ClientError("invalid_answer", otherwise)
    code, message = str(fault.get("code", "error")), str(fault.get("message", otherwise))
    return (
        Disconnected(message, code) if code in PASSING else ClientError(code, message, fault.get("details"))
    )
