"""The command, speaking to the stack."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.cli.command import Command
from tests.e2e.stack import Stack


@pytest.fixture
async def fleetlm(stack: Stack, tmp_path: Path) -> AsyncIterator[Command]:
    """`fleetlm`, in open mode, with no profiles."""
    command = Command(tmp_path, stack.web[0])
    yield command
    await command.close()


@pytest.fixture
def people(fresh: str) -> tuple[str, str, str]:
    """Two people and the key of their dm."""
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    return alice, bob, f"{alice}:{bob}"
