"""Turns the name of an agent's host into the addresses at which it may be called."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from agents.door.addresses import AddressRules
from agents.errors import AddressBlocked

LOOKUPS: Final = 32
"""Lookups at once. Each holds a thread, for many seconds when a name server is silent; the event loop's own few
threads would let two such names stop all others."""

_FLAGS: Final = getattr(socket, "AI_ADDRCONFIG", 0)


class SystemNames(AbstractResolver):
    """Looks names up as the system does, hosts file included."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, "agent-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises `OSError` if it has none."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=_FLAGS)
        )
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=_NUMERIC
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Wait for no lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)


_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class AllowedNames(AbstractResolver):
    """Leaves out the addresses that may not be called, so that a name which also has others is called at those.

    A convenience, not the guard: that is where the door dials.
    """

    def __init__(self, names: AbstractResolver, rules: AddressRules) -> None:
        self._names = names
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name that may be called. Raises `AddressBlocked` if none of them may."""
        found = await self._names.resolve(host, port, family)
        allowed: list[ResolveResult] = []
        blocked: AddressBlocked | None = None
        for each in found:
            try:
                self._rules.check(ip_address(each["host"]))
            except AddressBlocked as error:
                blocked = blocked or error
            else:
                allowed.append(each)
        if allowed:
            return allowed
        if blocked is not None:
            raise AddressBlocked(f"{host}: {blocked}")
        raise socket.gaierror(socket.EAI_NONAME, "The name has no address.")

    async def close(self) -> None:
        """Close what looks the names up."""
        await self._names.close()
