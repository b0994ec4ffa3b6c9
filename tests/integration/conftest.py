"""The web process that these tests call (see `tests.integration.server`), and what runs in the test's own process."""

from collections.abc import AsyncIterator, Iterator

import pytest

from fleetlm.auth.keys import make_key
from runtime.appender import Appender
from runtime.core import Runtime
from tests.integration.live import running_runtime, silent_appender
from tests.integration.server import Client, Server
from tests.integration.streams import connect, connection, talk

__all__ = ["connect", "connection", "talk"]  # fixtures


@pytest.fixture(scope="session")
def server(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The web process of the run. It must not have logged a fault of its own when it ends."""
    with Server(tmp_path_factory.mktemp("server") / "log") as running:
        yield running
    assert not (logged := running.complaints()), "\n".join(logged)


@pytest.fixture
def healthy(server: Server) -> Iterator[None]:
    """Whatever the test did, the process takes it calmly: it is ready afterwards and has logged no fault."""
    assert not (left := server.complaints()), "left by an earlier test: " + "\n".join(left)
    yield
    assert server.is_healthy()
    assert not (logged := server.complaints()), "\n".join(logged)


@pytest.fixture(scope="session")
def admin_key(database: None) -> str:
    return make_key("tests", ["read", "write", "admin"])[1]


@pytest.fixture
def api(server: Server, admin_key: str) -> Client:
    """A server's client, with every scope."""
    return Client(server, admin_key)


@pytest.fixture
def nobody(server: Server) -> Client:
    """A client without a credential."""
    return Client(server)


@pytest.fixture
async def here() -> AsyncIterator[Runtime]:
    """A process."""
    async with running_runtime() as runtime:
        yield runtime


@pytest.fixture
async def there(here: Runtime) -> AsyncIterator[Runtime]:
    """Another process."""
    async with running_runtime() as runtime:
        yield runtime


@pytest.fixture
async def silent(here: Runtime) -> AsyncIterator[Appender]:
    """A third, whose publishes and hints are all lost."""
    async with silent_appender() as appender:
        yield appender
