"""What is written into arrays comes back as it was, whatever it holds."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.database import Pool, make_pool

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
AWKWARD = [
    "",
    "NULL",
    "null",
    "{}",
    "a,b",
    '"',
    "\\",
    '\\"',
    "'; DROP TABLE x; --",
    " padded ",
    "line\nbreak",
    "{a,b}",
]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with make_pool(2) as pool:
        yield pool


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.none() | TEXTS | st.sampled_from(AWKWARD), max_size=8))
async def test_texts_in_an_array_come_back_as_they_were(pool: Pool, texts: list[str | None]) -> None:
    async with pool.connection() as connection:
        row = await (
            await connection.execute("SELECT %s::text[], cardinality(%s::text[])", (texts, texts))
        ).fetchone()
    assert row == (texts, len(texts))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), switches=st.lists(st.booleans()))
async def test_numbers_and_switches_come_back_as_they_were(
    pool: Pool, numbers: list[int | None], switches: list[bool]
) -> None:
    async with pool.connection() as connection:
        row = await (
            await connection.execute("SELECT %s::bigint[], %s::bool[]", (numbers, switches))
        ).fetchone()
    assert row == (numbers, switches)
