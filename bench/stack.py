"""What everything stands on: the engines, in a temporary directory, and the environment that leads to them.

Whoever starts a server and a driver on them finds both here too.
"""

import contextlib
import os
import resource
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.driving import drive
from bench.processes import ROOT, Child, web
from runtime.embedded import postgres, valkey
from runtime.embedded.engine import running

__all__ = ["ROOT", "Child", "drive", "engines", "until", "web"]


@contextlib.contextmanager
def engines() -> Iterator[Path]:
    """Postgres (with fsync) and Valkey; the environment of this process leads to them while the context lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetlm-bench-")))
        database = stack.enter_context(running(postgres.prepare(data / "postgres")))
        cache = stack.enter_context(running(valkey.prepare(data / "valkey")))
        postgres.create_database(database)
        os.environ |= {
            "DATABASE_URL": database,
            "REDIS_URL": cache,
            "FLEETLM_DATA": str(data),
            "FLEETLM_ENV": "production",
            "FLEETLM_AUTH": "required",
            "FLEETLM_SECRET_KEY": secrets.token_urlsafe(48),
            "FLEETLM_LOG_FORMAT": "json",
            "FLEETLM_LOG_LEVEL": "INFO",
            "FLEETLM_AGENT_PLAIN_HTTP": "true",
            "FLEETLM_AGENT_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "fleetlm.settings",
        }
        yield data


def until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
