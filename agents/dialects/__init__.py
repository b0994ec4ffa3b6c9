"""How agents are spoken to, by the name that an endpoint carries. A new dialect is a file here and a line below."""

from typing import Final

from agents.dialects.ag_ui import AgUi
from agents.dialects.base import Call, Dialect, Reader, Request
from agents.dialects.openai import OpenAI
from agents.dialects.webhook import Webhook

__all__ = ["DIALECTS", "Call", "Dialect", "Reader", "Request"]

DIALECTS: Final[dict[str, Dialect]] = {"webhook": Webhook(), "ag-ui": AgUi(), "openai": OpenAI()}
