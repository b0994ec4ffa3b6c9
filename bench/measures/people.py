"""Who writes to whom: two-member conversations, a set of its own for each server.

A server that has a conversation open hears of its messages even while it is another one's turn to be measured.
"""

from functools import cache, cached_property
from typing import Any

from bench import seed

SENDERS = 32


class Pairs:
    """So many two-member conversations: 32 people write, each in its share of them."""

    def __init__(self, conversations: int, group: str) -> None:
        self.people = [(f"{group}-sender-{n % SENDERS}", f"{group}-reader-{n}") for n in range(conversations)]
        self.keys = seed.dms(self.people)

    @cached_property
    def written(self) -> list[tuple[str, str]]:
        """Each key, and who writes there."""
        return [(key, pair[0]) for key, pair in zip(self.keys, self.people, strict=True)]

    @cached_property
    def sockets(self) -> list[dict[str, Any]]:
        """A socket for each sender, with the keys that it joins."""
        senders = dict.fromkeys(sender for _, sender in self.written)
        return [
            {"token": seed.token(one), "keys": [key for key, sender in self.written if sender == one]}
            for one in senders
        ]


@cache
def hundred(workers: int) -> Pairs:
    """The hundred conversations of the server with so many workers."""
    return Pairs(100, f"pairs{workers}")


@cache
def ten_thousand() -> Pairs:
    """Ten thousand, for all servers: nobody joins them."""
    return Pairs(10_000, "many")
