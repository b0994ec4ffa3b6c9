"""The API against its own schema: requests that fit it, and requests that just do not, in a run of fixed length and seed.

None may end in a 5xx, and every answer must be one that the schema describes.
"""

from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.server import Client, unique
from tests.integration.test_access_endpoints import ROWS, Row

pytestmark = pytest.mark.usefixtures("healthy")

EXAMPLES = 10
"""Requests for each operation, way of generating them and kind of path."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@cache
def operations(server_origin: str) -> dict[tuple[str, str], APIOperation[Any, Any, Any, Any]]:
    """The operations of the schema that is served there, by method and path."""
    schema = schemathesis.openapi.from_url(f"{server_origin}/api/schema?format=json")
    found = (result.ok() for result in schema.get_all_operations())
    return {(operation.method.upper(), operation.path): operation for operation in found}


@pytest.fixture
def place(api: Client) -> dict[str, str]:
    """Path parameters of things that exist: a group with two messages, its member, an agent, a subscription."""
    member, agent = unique("member"), unique("agent")
    key = api.group(member)
    subscription = api.ok(
        "POST",
        "/api/subscriptions",
        {"event": "message.created", "url": "http://127.0.0.1:9/", "key_prefix": key},
    )
    api.say(key, member, f"one @{member}", content={"a": [None, 1.5, {}]})
    api.say(key, member, "two", reply_to=1, client_id="c")
    api.ok("POST", "/api/agents", {"id": agent, "url": "http://127.0.0.1:9/"})
    api.ok("POST", f"/api/conversations/{key}/participants", {"participants": [agent]})
    return {
        "key": key,
        "participant_id": member,
        "agent_id": agent,
        "subscription_id": subscription["id"],
    }


def hurry(case: Case) -> None:
    """A long poll that nobody ends would only cost time."""
    if case.query and "wait" in case.query:
        case.query["wait"] = 0


def make_sense(case: Case, member: str) -> None:
    """Chance alone names no member and no message, and so would never write or read."""
    message = {"sender_id": member, "reply_to": 1}
    sensible = {"messages": message, "read": {"participant_id": member}}
    if isinstance(case.body, dict):
        case.body.update(sensible.get(case.path.rpartition("/")[2], {}))
        case.body.pop("expected_seq", None)
        for one in case.body.get("messages", []):
            one.update(message)
            one.pop("expected_seq", None)


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize(
    ("row", "known"),
    [(row, known) for row in ROWS for known in (True, False) if "<" in row.route or not known],
    ids=lambda value: str(value) if isinstance(value, Row) else "known" if value else "generated",
)
def test_every_answer_is_one_of_the_schema(
    api: Client, place: dict[str, str], row: Row, known: bool, mode: GenerationMode
) -> None:
    path = "/" + row.route.replace("<str:", "{").replace(">", "}")
    operation = operations(api.server.origin)[row.method, path]
    names = {name: value for name, value in place.items() if f"{{{name}}}" in path} if known else None
    attempt = follow if path.endswith("/events") else call

    @bounded
    @seed(20_260_101)
    @given(case=operation.as_strategy(mode, path_parameters=names))
    def run(case: Case) -> None:
        hurry(case)
        if known and mode is GenerationMode.POSITIVE:
            make_sense(case, place["participant_id"])
        attempt(api, case)

    run()


def call(api: Client, case: Case) -> None:
    response = case.call(headers={"Authorization": f"Bearer {api.credential}"})
    checks = CHECKS
    if case.path.endswith("/batch") and response.status_code == 200:
        # One message that does not fit the schema is refused in its result, not with the request.
        checks = [check for check in CHECKS if check is not negative_data_rejection]
        refused = [one for one in response.json()["results"] if "error" in one]
        assert refused or case.meta.generation.mode.is_positive, case.body
    case.validate_response(response, checks=checks)


def follow(api: Client, case: Case) -> None:
    """A stream has no end: its head is looked at."""
    target = case.formatted_path + (f"?{urlencode(case.query, doseq=True)}" if case.query else "")
    with api.open("GET", target) as response:
        assert response.status < 500
        if response.status == 200:
            assert response.headers["Content-Type"] == "text/event-stream"
