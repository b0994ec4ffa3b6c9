"""How agents are spoken to, by the name that an endpoint carries. A new dialect is a file here and a line below."""

from typing import Final

from agents.dialects.base import Call, Dialect, Request
from agents.dialects.webhook import Webhook

__all__ = ["DIALECTS", "Call", "Dialect", "Request"]

DIALECTS: Final[dict[str, Dialect]] = {"webhook": Webhook()}
