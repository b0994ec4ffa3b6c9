"""Agents of FleetLM: a function that is given the conversation and says what comes next.

    from fleetlm_client.agent import Agent, Call

    agent = Agent()

    @agent
    async def answer(call: Call) -> str:
        return f"You said: {call.text}"

    agent.run(port=5000)

Nothing but the standard library is needed.
"""

from .agent import Agent
from .answers import Answer, Gone, Later, RetryLater
from .call import Call, CallInvalid, Message, Participant
from .memory import MemoryStore, Store
from .signatures import SignatureInvalid, sign, verify

__all__ = [
    "Agent",
    "Answer",
    "Call",
    "CallInvalid",
    "Gone",
    "Later",
    "MemoryStore",
    "Message",
    "Participant",
    "RetryLater",
    "SignatureInvalid",
    "Store",
    "sign",
    "verify",
]
