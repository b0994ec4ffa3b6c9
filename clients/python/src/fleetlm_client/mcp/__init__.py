"""FleetLM for models: one participant's conversations as a server of the Model Context Protocol, over stdio.

It needs the package `mcp`: `pip install 'fleetlm[mcp]'`.
"""

from .server import serve
from .tools import make_server

__all__ = ["make_server", "serve"]
