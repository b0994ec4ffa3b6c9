"""The databases that are compared: one cluster, and for each a web process with a Valkey of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit, urlunsplit

from bench import stack
from bench.growth import load
from bench.growth.shape import Shape
from runtime.embedded import postgres, valkey
from runtime.embedded.engine import running


@dataclass(frozen=True, slots=True)
class Database:
    """A filled database."""

    name: str
    url: str
    key: str
    """An API key."""
    shape: Shape
    load_seconds: float


def make(name: str, beside: str, shape: Shape) -> Database:
    """Create a database in the cluster of the URL `beside`, migrate and fill it."""
    parts = urlsplit(beside)
    url = urlunsplit(parts._replace(path=f"/{name}"))
    postgres.create_database(url)
    seeded = subprocess.run(
        [sys.executable, "-m", "bench.growth.seed"],
        env=os.environ | {"DATABASE_URL": url},
        cwd=stack.ROOT,
        capture_output=True,
        text=True,
    )
    if seeded.returncode:
        raise SystemExit(f"bench: {name} cannot be made:\n{seeded.stderr[-2000:]}")
    began = perf_counter()
    load.fill(url, shape)
    return Database(name, url, seeded.stdout.split()[-1], shape, perf_counter() - began)


@contextmanager
def web(data: Path, database: Database) -> Iterator[stack.Child]:
    """A web process on this database that answers."""
    place = data / database.name
    place.mkdir(exist_ok=True)
    with running(valkey.prepare(place / "valkey")) as cache:
        kept = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        os.environ |= {"DATABASE_URL": database.url, "REDIS_URL": cache}
        try:
            started = stack.web(place)  # it takes the environment of this moment
        finally:
            os.environ |= kept
        with started as process:
            process.wait_until_it_answers()
            yield process
