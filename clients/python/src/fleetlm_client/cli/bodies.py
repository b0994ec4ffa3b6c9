"""Bodies of REST calls out of options: JSON that was typed, and lists that come in pages."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from fleetlm_client import AsyncFleetLM

PAGE = 200
FROM_INPUT = "-"


class Json(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A JSON value, or one JSON object where `only_object`."""

    name = "json"

    def __init__(self, *, only_object: bool = False) -> None:
        self._only_object = only_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value. Fails with the place where it stops to be JSON."""
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(sys.stdin.read() if value == FROM_INPUT else value)
        except ValueError as error:
            self.fail(f"this is not JSON: {error}", param, ctx)
        if self._only_object and not isinstance(found, dict):
            self.fail("this is not a JSON object", param, ctx)
        return found


class Field(click.ParamType):  # type: ignore[type-arg]  # likewise
    """`name=value`: the value is JSON, or a text that is none."""

    name = "field=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not like field=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def part(name: str) -> str:
    """A key or an id as a part of a path."""
    return quote(name, safe="")


async def pages_by(
    fleet: AsyncFleetLM, path: str, listed: str, place: str, query: Mapping[str, Any], limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """The records of a list that goes on at `next`, given as the query's `place`; `limit` at most."""
    left = limit
    asked = dict(query)
    while left is None or left > 0:
        size = PAGE if left is None else min(left, PAGE)
        page = await fleet.request("GET", path, query={**asked, "limit": size})
        for record in page[listed]:
            yield record
        if page["next"] is None:
            return
        asked[place] = page["next"]
        left = None if left is None else left - len(page[listed])
