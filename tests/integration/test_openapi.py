"""The schema that is served is valid, whole, and readable without the rest of the internet."""

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.integration.server import Client
from tests.integration.test_access_endpoints import routes

pytestmark = pytest.mark.usefixtures("healthy")


@pytest.fixture
def schema(nobody: Client) -> dict[str, Any]:
    """The schema as a client without a credential gets it."""
    answer = nobody.call("GET", "/api/schema", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


def operations(schema: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def test_it_is_valid(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []


def test_it_names_every_route(schema: dict[str, Any]) -> None:
    served = {(method, "/" + re.sub("<str:(.*?)>", r"{\1}", route)) for method, route in routes()}
    assert set(operations(schema)) == served


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    wanted = set(re.findall(r"'\$ref': '([^']*)'", str(schema)))
    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert len(wanted) > 20
    assert wanted <= known


def test_every_operation_says_what_it_does_takes_and_answers(schema: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(schema).values()]
    assert len(ids) == len(set(ids))
    for (method, path), operation in operations(schema).items():
        assert operation["summary"], path
        assert operation["security"] == [{"bearer": []}], path
        assert [status for status in operation["responses"] if status.startswith("2")], path
        assert {"400", "401", "403", "405"} <= set(operation["responses"]), path
        assert "requestBody" not in operation or method in ("POST", "PATCH"), path
        in_path = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert in_path == set(re.findall("{(.*?)}", path)), path


def test_errors_have_one_shape(schema: dict[str, Any]) -> None:
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    for (_, path), operation in operations(schema).items():
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert response["content"]["application/json"]["schema"] == error, (path, status)


def test_the_docs_load_nothing_from_elsewhere(nobody: Client) -> None:
    page = nobody.get("/api/docs")
    assert page.status == 200
    text = page.body.decode()
    links = re.findall(r"""(?:src|href)=["'](.*?)["']""", text)
    assert any(link.endswith(".js") for link in links)
    here = urlsplit(nobody.server.origin).netloc
    for link in links:
        address = urlsplit(urljoin(f"{nobody.server.origin}/api/docs", link))
        assert address.netloc == here, link
        found = nobody.get(address.path)
        assert (found.status, bool(found.body)) == (200, True), link
    assert set(re.findall(r"https?://([^/\"'\s]+)", text)) <= {here}
