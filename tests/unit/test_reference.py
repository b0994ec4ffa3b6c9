"""The API reference: nothing of the schema is missing, and every field says what it means."""

from docs.site import reference
from docs.site.hooks import ROOT, linked, moved, page_of, target_of

SCHEMA = reference.openapi()
PAGES = reference.pages(SCHEMA)
SHAPES = SCHEMA["components"]["schemas"]


def test_every_operation_has_its_place() -> None:
    for path, operations in SCHEMA["paths"].items():
        for method, operation in operations.items():
            page = PAGES[f"{operation['tags'][0]}.md"]
            anchor = operation["operationId"].replace("_", "-")
            assert page.count(f"{{: #{anchor} }}") == 1, (method, path)
            assert f"(#{anchor})" in page


def test_every_shape_that_is_linked_is_there() -> None:
    for name, page in PAGES.items():
        for shape in SHAPES:
            assert f"](#{shape.lower()})" not in page or f"{{: #{shape.lower()} }}" in page, (name, shape)


def test_every_field_has_a_meaning_and_every_meaning_a_field() -> None:
    places = {f"{shape}.{field}" for shape, form in SHAPES.items() for field in form.get("properties", {})}
    assert {place for place in places if not reference.meaning(place)} == set()
    said = reference.WORDS["fields"].keys()
    used = {place if place in said else place.partition(".")[2] for place in places}
    assert said - used == set()


def test_every_resource_has_its_words() -> None:
    assert {f"{resource}.md" for resource in reference.WORDS["resources"]} == PAGES.keys()


def test_every_example_is_of_a_form_that_takes_it() -> None:
    for name, example in reference.WORDS["examples"].items():
        if isinstance(example, dict):
            form = SHAPES[name]
            assert example.keys() <= form["properties"].keys(), name
            assert set(form.get("required", [])) <= example.keys(), name


def test_the_errors_are_those_of_the_code() -> None:
    table = reference.error_table()
    for code, status in (
        ("seq_conflict", 409),
        ("not_joined", 400),
        ("run_not_found", 404),
        ("unavailable", 503),
    ):
        assert f"| `{code}` | {status} |" in table
    assert "`error`" not in table


def test_types_are_words() -> None:
    said = {
        "whole number, 1 to 200": {"type": "integer", "minimum": 1, "maximum": 200},
        "whole number, from 0 or null": {
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, {"type": "null"}]
        },
        "`a` `b`": {"enum": ["a", "b"]},
        "list of [Message](#message)": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}},
        "text, up to 9": {"type": "string", "maxLength": 9},
    }
    assert {reference.type_of(schema): schema for schema in said.values()} == said


def test_links_out_of_the_documents_lead_to_pages_of_the_site() -> None:
    text = "See [an agent](../examples/plain_agent/agent.py), [all](../examples/README.md#x) and [it](agents.md#streams).\n"
    code = "```sh\n[x](../examples/plain_agent/agent.py)\n```\n"
    assert moved(text + code, "docs/socket.md", "socket.md") == (
        "See [an agent](source/examples/plain_agent/agent.py.md), [all](source/examples/README.md#x) "
        "and [it](agents.md#streams).\n" + code
    )
    assert target_of("../../docs/agents.md", "clients/python/README.md") == "docs/agents.md"
    assert target_of("../../examples/echo_agent", "docs/clients/mcp.md") == "examples/echo_agent/README.md"
    assert page_of("clients/python/README.md") == "clients/python.md"
    assert all((ROOT / path).exists() for path in linked("docs/agents.md"))
