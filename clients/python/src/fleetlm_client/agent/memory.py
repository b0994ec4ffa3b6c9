"""What was answered to which call, so that a call which comes again gets the same answer and its work is not done twice."""

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

from .answers import Answer

MAX_CALLS = 10_000
MAX_BYTES = 32 * 1024 * 1024


class Store(Protocol):
    """Where answers are kept, by `webhook-id`. FleetLM may repeat a call for three days.

    The methods may be sync (they then run in a thread) or async. With several processes, keep them where all can read them.
    """

    def get(self, webhook_id: str) -> Answer | Awaitable[Answer | None] | None:
        """The answer of this call, None if there is none yet."""

    def put(self, webhook_id: str, answer: Answer) -> Awaitable[None] | None:
        """Keep the answer of this call."""


class MemoryStore:
    """The newest answers, in the memory of this process: at most so many, and so many bytes of them."""

    def __init__(self, max_calls: int = MAX_CALLS, max_bytes: int = MAX_BYTES) -> None:
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._bytes = 0

    async def get(self, webhook_id: str) -> Answer | None:
        """See `Store`."""
        return self._answers.get(webhook_id)

    async def put(self, webhook_id: str, answer: Answer) -> None:
        """See `Store`."""
        self._forget(webhook_id)
        self._answers[webhook_id] = answer
        self._bytes += len(answer.body)
        while len(self._answers) > self._max_calls or self._bytes > self._max_bytes:
            self._forget(next(iter(self._answers)))

    def _forget(self, webhook_id: str) -> None:
        answer = self._answers.pop(webhook_id, None)
        self._bytes -= len(answer.body) if answer else 0
