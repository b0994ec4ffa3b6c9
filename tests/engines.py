"""A pytest plugin (`-p tests.engines`): Postgres and Valkey for the run, before the settings are read."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.embedded import postgres, valkey
from runtime.embedded.engine import running

SECRET_KEY = "for-the-tests-only-0123456789-0123456789-0123456789-0123456789"
SETTINGS = {
    "FLEETLM_ENV": "development",
    "FLEETLM_AUTH": "required",
    "FLEETLM_SECRET_KEY": SECRET_KEY,
    "FLEETLM_AGENT_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
}


@contextlib.contextmanager
def engines() -> Iterator[dict[str, str]]:
    """Both engines in a directory of their own; the environment that leads to them."""
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetlm-tests-")))
        database = stack.enter_context(running(postgres.prepare(data / "postgres", fsync=False)))
        cache = stack.enter_context(running(valkey.prepare(data / "valkey")))
        postgres.create_database(database)
        yield {
            "DATABASE_URL": database,
            "REDIS_URL": cache,
            "FLEETLM_DATA": str(data),
        }


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start them.

    A wrapper runs before every plain hook, pytest-django's included, which loads the settings. Under `-n` every worker
    has engines of its own; the process that hands out the tests has none.
    """
    os.environ.update(SETTINGS)
    if (
        not getattr(early_config.known_args_namespace, "numprocesses", None)
        or "PYTEST_XDIST_WORKER" in os.environ
    ):
        stack = contextlib.ExitStack()
        early_config.add_cleanup(stack.close)
        os.environ.update(stack.enter_context(engines()))
    return (yield)
