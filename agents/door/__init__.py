"""The one door for outgoing HTTP: which addresses may be called, how long that may take, how much may come back."""

from agents.door.addresses import AddressRules
from agents.door.answers import Answer, Head, Patience
from agents.door.door import Door

__all__ = ["AddressRules", "Answer", "Door", "Head", "Patience"]
