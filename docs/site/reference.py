"""The API reference: pages of Markdown, made from the server's own OpenAPI schema and its classes of errors.

What a field means is said once, in `fields.toml` beside this file; what an operation does, the schema says.
"""

import inspect
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

WORDS: Final = tomllib.loads((Path(__file__).parent / "fields.toml").read_text())
METHODS: Final = ("get", "post", "patch", "delete")
SERVER: Final = "http://127.0.0.1:4000"

Schema = dict[str, Any]


def openapi() -> Schema:
    """The schema that a running server answers at `/api/schema`."""
    _set_up()
    from drf_spectacular.generators import SchemaGenerator

    schema: Schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return schema


def errors() -> list[tuple[str, int, str]]:
    """Every error that a client can get: its code, its status, what it means."""
    _set_up()
    import fleetlm.sockets.consumer
    import fleetlm.urls  # noqa: F401
    from conversations.errors import FleetLMError

    found = {kind.code: kind for kind in _heirs(FleetLMError) if "code" in vars(kind)}
    return [(code, kind.status, inspect.cleandoc(kind.__doc__ or "")) for code, kind in sorted(found.items())]


def _set_up() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetlm.settings")
    os.environ.setdefault("FLEETLM_ENV", "development")
    django.setup()


def _heirs(kind: type) -> Iterator[Any]:
    heir: type
    for heir in kind.__subclasses__():
        yield heir
        yield from _heirs(heir)


def pages(schema: Schema) -> dict[str, str]:
    """The pages by file name: one for each resource."""
    return {f"{tag}.md": page(schema, tag) for tag in resources(schema)}


def resources(schema: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    """The operations of each resource as (method, path, operation), those on a path in the order of `METHODS`."""
    found: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                found.setdefault(operations[method]["tags"][0], []).append((method, path, operations[method]))
    return found


def page(schema: Schema, tag: str) -> str:
    """One resource: its operations, then the shapes that they take and answer."""
    operations = resources(schema)[tag]
    shapes: dict[str, None] = {}
    text = [f"# {tag.capitalize()}\n", WORDS["resources"][tag] + "\n", *_contents(operations)]
    for method, path, operation in operations:
        text += _operation(schema, method, path, operation, shapes)
    text.append("## Shapes\n")
    for name in _reached(schema, list(shapes)):
        text += [
            f"### {name} {{: #{name.lower()} }}\n",
            _prose(schema["components"]["schemas"][name]),
            _table(schema, name),
        ]
    return "\n".join(text)


def _contents(operations: list[tuple[str, str, Schema]]) -> Iterator[str]:
    yield "| | | |\n| --- | --- | --- |"
    for method, path, operation in operations:
        yield f"| {_verb(method)} | [{_title(path, operation)}](#{_anchor(operation)}) | `{path}` |"
    yield ""


def _operation(
    schema: Schema, method: str, path: str, operation: Schema, shapes: dict[str, None]
) -> Iterator[str]:
    """One operation; the shapes that it names are added to `shapes`."""
    yield f"## {_title(path, operation)} {{: #{_anchor(operation)} }}\n"
    yield f"{_verb(method)} `{path}`{{ .path }}\n"
    yield _prose(operation)
    if queries := [one for one in operation.get("parameters", []) if one["in"] == "query"]:
        form = _query_form(schema, queries)
        yield "| parameter | type | meaning |\n| --- | --- | --- |"
        for one in queries:
            yield _row(
                one["name"], _without_null(one["schema"]), one.get("required", False), f"{form}.{one['name']}"
            )
        yield ""
    body = _form(operation.get("requestBody", {}))
    if body:
        shapes |= dict.fromkeys(_references(schema, body))
        yield "Body:\n"
        yield _table(schema, body)
    yield f"```sh\n{curl(method, path, body)}\n```\n"
    yield f"{_answers(operation, shapes)}\n"


def curl(method: str, path: str, form: str | None) -> str:
    """A call to try, with the examples of `fields.toml`."""
    examples = WORDS["examples"]
    url = SERVER + re.sub(r"{(\w+)}", lambda found: examples[found[1]], path)
    if method == "get" and path in WORDS["queries"]:
        url += f"?{WORDS['queries'][path]}"
    stream = "-N " if path.endswith("/events") else ""
    head = f"curl {stream}" if method == "get" else f"curl -X {method.upper()} "
    quoted = f'"{url}"' if "$" in url or "?" in url else url
    if form is None:
        return head + quoted
    body = json.dumps(examples[form])
    return f"{head}{quoted} \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"


def _answers(operation: Schema, shapes: dict[str, None]) -> str:
    """One line: what it answers when it does not refuse."""
    answers = []
    for status, answer in sorted(operation["responses"].items()):
        form = _form(answer)
        if form is None:
            stream = "text/event-stream" in answer.get("content", {})
            answers.append(f"**{status}** {'a stream of Server-Sent Events' if stream else 'nothing'}")
        elif form != "ErrorAnswer":
            shapes[form] = None
            answers.append(f"**{status}** [{form}](#{form.lower()})")
    return f"Answers {', '.join(answers)}; or an [error](errors.md)."


def _reached(schema: Schema, names: list[str]) -> list[str]:
    """These shapes and all that they refer to."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _references(schema, name)
    return sorted(found)


def _references(schema: Schema, name: str) -> list[str]:
    return re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema["components"]["schemas"][name]))


def _query_form(schema: Schema, queries: list[Schema]) -> str:
    """The name of the struct that a query is checked with: the one with the same fields."""
    names = {one["name"] for one in queries}
    forms = schema["components"]["schemas"].items()
    return next(
        str(name) for name, form in forms if name.endswith("Query") and set(form["properties"]) == names
    )


def _without_null(schema: Schema) -> Schema:
    """A parameter is left out, never null."""
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema


def _table(schema: Schema, name: str) -> str:
    form = schema["components"]["schemas"][name]
    if not form.get("properties"):
        return ""
    required = form.get("required", []) if name.endswith(("Form", "Body", "Change")) else []
    rows = [
        _row(field, value, field in required, f"{name}.{field}")
        for field, value in form["properties"].items()
    ]
    return "| field | type | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _row(name: str, schema: Schema, required: bool, place: str) -> str:
    parts = [meaning(place)]
    if required:
        parts.append("**Required.**")
    elif schema.get("default") not in (None, "", {}, []):
        parts.append(f"Default: `{json.dumps(schema['default'])}`.")
    return f"| `{name}` | {type_of(schema)} | {' '.join(parts)} |"


def meaning(place: str) -> str:
    """What a field means: as said of this form's field, or of the field wherever it stands."""
    fields = WORDS["fields"]
    return str(fields.get(place) or fields[place.partition(".")[2]])


def type_of(schema: Schema) -> str:
    """A type in words, with its bounds."""
    if name := _reference(schema):
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema['items'])}" if schema.get("items") else "list"
    words = {"integer": "whole number", "object": "object", "string": "text", "boolean": "true or false"}
    kind = str(schema.get("type", "any"))
    return words.get(kind, kind) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "maxLength" in schema:
        return f", up to {schema['maxLength']}"
    if high is not None and high < 2**63 - 1:
        return f", {low} to {high}"
    return f", from {low}" if low is not None else ""


def _form(holder: Schema) -> str | None:
    content = holder.get("content", {}).get("application/json", {})
    return _reference(content.get("schema", {}))


def _reference(schema: Schema) -> str | None:
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else None


def _title(path: str, operation: Schema) -> str:
    return str(WORDS["titles"].get(path.rpartition("/")[2], operation["summary"]))


def _anchor(operation: Schema) -> str:
    return str(operation["operationId"]).replace("_", "-")


def _verb(method: str) -> str:
    return f'<span class="verb {method}">{method.upper()}</span>'


def _prose(described: Schema) -> str:
    return inspect.cleandoc(described.get("description", "")) + "\n"


def error_table() -> str:
    """Every error code, for the page of errors."""
    rows = [f"| `{code}` | {status} | {' '.join(meaning.split())} |" for code, status, meaning in errors()]
    return "| code | status | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def resource_rows() -> str:
    """The resources in a sentence each, for the first page."""
    rows = []
    for tag, words in WORDS["resources"].items():
        sentence = words.partition(". ")[0].rstrip(".")
        rows.append(f"| [{tag.capitalize()}]({tag}.md) | {sentence}. |")
    return "\n".join(rows)
