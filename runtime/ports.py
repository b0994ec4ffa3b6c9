"""TCP ports of this machine: whether one is free, and which one is."""

import errno
import socket


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host:port` right now.

    Raises `OSError` when the host is not of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nothing listens on. Another process may still take it first."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])
