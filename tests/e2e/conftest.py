"""The stacks and clients of the end-to-end tests. When one fails, it shows what the processes printed meanwhile."""

import shutil
import uuid
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.e2e.javascript import node
from tests.e2e.phoenix import Phoenix
from tests.e2e.rest import Api
from tests.e2e.stack import Stack, guarded_stack, whole_stack

_sizes: pytest.StashKey[dict[str, tuple[Stack, dict[str, int]]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def stack_for_the_session() -> Iterator[Stack]:
    with whole_stack() as running:
        yield running


@pytest.fixture
def stack(stack_for_the_session: Stack) -> Iterator[Stack]:
    """Two web processes, a dispatcher and the demo agent; whole at the start of every test."""
    stack_for_the_session.restore()
    yield stack_for_the_session
    stack_for_the_session.restore()


@pytest.fixture(scope="session")
def guarded(stack_for_the_session: Stack) -> Iterator[Stack]:
    """One more web process on the same data, which asks for keys and tokens."""
    with guarded_stack(stack_for_the_session) as running:
        yield running


@pytest.fixture
async def phoenix() -> AsyncIterator[Phoenix]:
    """The official Phoenix client, under Node."""
    node()
    async with Phoenix() as client:
        yield client


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """REST of both web processes."""
    async with Api(stack.web) as client:
        yield client


@pytest.fixture
def fresh() -> str:
    """Something that no other test's ids hold."""
    return uuid.uuid4().hex[:10]


@pytest.fixture
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        pytest.skip("no curl on the PATH")
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    stacks = _stacks_of(item)
    item.stash[_sizes] = {str(number): (one, one.log_sizes()) for number, one in enumerate(stacks)}
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for one, sizes in item.stash.get(_sizes, {}).values():
            for name, member in one.members.items():
                if printed := member.tail(sizes.get(name, 0)):
                    report.sections.append((f"{one.directory.name}: {name}", printed))
    return report


def _stacks_of(item: pytest.Item) -> list[Stack]:
    arguments: dict[str, object] = getattr(item, "funcargs", {})
    return list({id(one): one for one in arguments.values() if isinstance(one, Stack)}.values())
