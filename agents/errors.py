"""How one call of an agent can fail. `outcome` is what the attempt records; the message is what an operator reads."""


class CallError(Exception):
    """The call did not bring an answer that can be used, and will be made again."""

    outcome = "refused"

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        """Seconds that the agent asked to be left alone, if it did."""


class CallRefused(CallError):
    """The agent answered with a status that is neither 200 nor 204."""


class CallTimedOut(CallError):
    """The whole answer was not here in time."""

    outcome = "timed_out"


class AgentUnreachable(CallError):
    """No connection, or one that broke."""

    outcome = "unreachable"


class AnswerInvalid(CallError):
    """The answer is not of a shape that its dialect knows, or is over a limit."""

    outcome = "invalid_answer"


class AddressBlocked(CallError):
    """The URL or the address behind it may not be called; nothing was sent."""

    outcome = "blocked"


class AgentFailed(CallError):
    """The agent itself reported, in its answer, that it failed."""

    outcome = "failed"
