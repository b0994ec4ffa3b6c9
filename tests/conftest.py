"""What every test stands on: one migrated database, open to all of them.

Tests keep apart by ids of their own.
"""

from collections.abc import Iterator
from typing import Final

import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

DEMANDING: Final = {
    "test_bench.py",
    "test_chaos.py",
    "test_hostile_agents.py",
    "test_many_processes.py",
    "test_support_desk.py",
    "test_use_chat.py",
}
"""They fill a machine, or measure what others must not disturb: one after the other, also where tests run side by side."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay on one worker, and so do all the demanding ones."""
    for item in items:
        group = "demanding" if item.path.name in DEMANDING else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker) -> None:
    """Migrate the run's own database; there is no second one named `test_…`."""
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0, interactive=False)


@pytest.fixture(scope="session", autouse=True)
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The migrated database, open for the whole session."""
    with django_db_blocker.unblock():
        yield
