"""`docs/configuration.md`, written from the class that reads the settings, so that it cannot be wrong."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fleetlm.config import INSECURE_SECRET_KEY, PROJECT_ROOT, Config

PAGE: Final = PROJECT_ROOT / "docs" / "configuration.md"

# Each heading stands before the field that it names; the fields follow in the order of the class.
HEADINGS: Final = {
    "environment": "Where it runs, and who may call",
    "database_url": "Postgres and Valkey",
    "host": "Addresses and processes",
    "log_format": "Logs",
    "text_bytes": "What clients may send",
    "append_queue_items": "Appends, live conversations and inboxes",
    "auth_cache_seconds": "API keys and tokens",
    "drain_seconds": "Stopping",
    "agent_timeout": "Agents",
}

INTRODUCTION: Final = """\
# Settings

Every setting of FleetLM is an environment variable. `manage.py up` also reads and writes `env` in
`FLEETLM_DATA`; the environment wins over that file. A value that is wrong ends the process at its start, with
one clear line for each fault and exit code 2.

This page is generated from `fleetlm/config.py` by `manage.py configuration`; `make check` fails when it is
out of date.
"""

TRACING: Final = """\
## Traces

Tracing is set by OpenTelemetry's own variables and costs nothing while they are not set:

| variable | meaning |
| --- | --- |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | switches tracing on: spans go there by OTLP/HTTP: `http://collector:4318` |
| `OTEL_TRACES_EXPORTER` | `otlp` and `console` switch it on too; `none` switches it off |
| `OTEL_SDK_DISABLED` | `true` switches it off |
| `OTEL_SERVICE_NAME` | the service's name; by default `fleetlm-web` or `fleetlm-dispatcher` |
| `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | a tenth: `parentbased_traceidratio` and `0.1` |

The SDK honours
[all the others](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) too.

## Metrics of several processes

`PROMETHEUS_MULTIPROC_DIR` names an empty directory in which the processes of one machine share their metrics,
so that `/metrics` of any of them shows all.
"""


def render() -> str:
    """The whole page, as Markdown."""
    return "\n".join((INTRODUCTION, *_tables(), TRACING))


def variable_of(name: str, field: FieldInfo) -> str:
    """The environment variable that a field is read from."""
    return field.alias or f"{Config.model_config['env_prefix']}{name}".upper()


def _tables() -> Iterator[str]:
    rows: list[str] = []
    for name, field in Config.model_fields.items():
        if name in HEADINGS:
            if rows:
                yield "\n".join((*rows, ""))
            rows = [
                f"## {HEADINGS[name]}",
                "",
                "| variable | type | meaning | default |",
                "| --- | --- | --- | --- |",
            ]
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{variable_of(name, field)}` | {type_of(field)} | {meaning} | {default_of(field)} |")
    yield "\n".join((*rows, ""))


def type_of(field: FieldInfo) -> str:
    """A field's type in words, with its bounds."""
    return _words_of(field.annotation) + _bounds_of(field)


def _words_of(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if origin is list:
        return f"list of {_PLURALS.get(get_args(annotation)[0], 'texts')}"
    if origin in (Union, UnionType):
        return " or ".join(_words_of(part) for part in get_args(annotation) if part is not type(None))
    return _WORDS.get(annotation, "text")


_WORDS: Final = {bool: "`true` or `false`", int: "whole number", float: "number"}
_PLURALS: Final = {int: "whole numbers", float: "numbers", str: "texts"}


def _bounds_of(field: FieldInfo) -> str:
    words = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=least):
                words.append(f"from {least}")
            case Gt(gt=least):
                words.append(f"above {least}")
            case Le(le=most):
                words.append(f"to {most}")
            case Lt(lt=most):
                words.append(f"below {most}")
    return f", {' '.join(words)}" if words else ""


def default_of(field: FieldInfo) -> str:
    """A field's default as it would be written in the environment."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value in ("", [], None, PydanticUndefined, INSECURE_SECRET_KEY):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`{','.join(str(part) for part in value)}`"
    text = str(value).removeprefix(f"{PROJECT_ROOT}/")
    return f"`{text.removesuffix('.0') if isinstance(value, float) else text}`"
