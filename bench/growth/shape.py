"""How full a database is. Both databases have the same words and sizes where they are compared: an inbox of 1,000, say."""

from dataclasses import dataclass

HEAVY = "heavy"
"""The participant with the large inbox."""

AGENT = "helper"
ENORMOUS = "enormous"
GROUP_MEMBERS = 5
ENORMOUS_MEMBERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is loaded. Every `messages // enormous`-th message goes to the enormous conversation, the rest round the others."""

    messages: int
    conversations: int
    enormous: int
    inbox: int
    streams: int
    due: int

    @property
    def stride(self) -> int:
        """Every so many messages one of the enormous conversation."""
        return self.messages // self.enormous

    @property
    def others(self) -> int:
        """Conversations beside the enormous one."""
        return self.conversations - 1

    @property
    def groups(self) -> int:
        """How many of the others are groups."""
        return self.conversations // 20

    @property
    def people(self) -> int:
        """Writers, and readers, of the ordinary dms."""
        return max(self.conversations // 5, GROUP_MEMBERS, ENORMOUS_MEMBERS)


SMALL = Shape(messages=20_000, conversations=10_000, enormous=2_000, inbox=1_000, streams=1_000, due=50)


def large(messages: int) -> Shape:
    """So many messages, a hundred to a conversation; a tenth of them in one."""
    conversations = max(messages // 100, 5_000)
    return Shape(
        messages=messages,
        conversations=conversations,
        enormous=messages // 10,
        inbox=min(1_000, conversations // 25),
        streams=conversations // 2,
        due=50,
    )
