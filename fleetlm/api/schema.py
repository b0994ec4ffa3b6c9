"""OpenAPI of the API: the msgspec structs that bodies, queries and answers are checked with become its components."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, extend_schema

from fleetlm.api import agent_forms, forms, run_forms, search_forms, stream_forms, subscription_forms
from fleetlm.sending import SendBody

Handler = TypeVar("Handler", bound=Callable[..., Any])

_REF = "#/components/schemas/{name}"
_STRUCTS: list[type[msgspec.Struct]] = [
    SendBody,
    *forms.ALL,
    *agent_forms.ALL,
    *subscription_forms.ALL,
    *stream_forms.ALL,
    *run_forms.ALL,
    *search_forms.ALL,
]


class Schema(AutoSchema):
    """Operations are tagged by the resource that their path names."""

    def get_tags(self) -> list[str]:
        """The first segment of the path after `/api`."""
        return [self.path.split("/")[2]]

    def get_operation_id(self) -> str:
        """The path's words and the method: `conversations_key_messages_post`."""
        words = [segment.strip("{}") for segment in self.path.split("/")[2:]]
        return "_".join([*words, self.method.lower()])


class Bearer(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How a call is authenticated."""

    target_class = "fleetlm.api.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """An API key or a participant token in the Authorization header."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`flk_…`) or a participant token (JWT).",
        }


def add_components(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the structs to the generated schema."""
    _, components = msgspec.json.schema_components(_STRUCTS, ref_template=_REF)
    result.setdefault("components", {}).setdefault("schemas", {}).update(components)
    return result


def reference(form: type[msgspec.Struct]) -> dict[str, Any]:
    """A media type object that refers to a struct's component."""
    return {"application/json": {"$ref": _REF.format(name=form.__name__)}}


def operation(
    summary: str,
    *,
    answers: dict[int, type[msgspec.Struct] | None],
    body: type[msgspec.Struct] | None = None,
    query: type[msgspec.Struct] | None = None,
    media_type: str | None = None,
) -> Callable[[Handler], Handler]:
    """Describe a handler: what it takes and what it answers. Every operation may answer with the error shape too."""
    responses: dict[Any, Any] = {}
    for status, form in answers.items():
        if media_type is not None:
            responses[(status, media_type)] = {"type": "string"}
        elif form is None:
            responses[status] = None
        else:
            responses[(status, "application/json")] = reference(form)["application/json"]
    for status in (400, 401, 403, 404, 405, 409, 413, 415, 503):
        responses.setdefault((status, "application/json"), reference(forms.ErrorAnswer)["application/json"])
    decorator: Callable[[Handler], Handler] = extend_schema(
        summary=summary,
        request=None if body is None else reference(body),
        responses=responses,
        parameters=[] if query is None else list(_parameters(query)),
    )
    return decorator


def _parameters(form: type[msgspec.Struct]) -> list[OpenApiParameter]:
    schema = msgspec.json.schema(form)["$defs"][form.__name__]
    return [
        OpenApiParameter(
            name, _without_default(value), OpenApiParameter.QUERY, required=name in schema["required"]
        )
        for name, value in schema["properties"].items()
    ]


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "default" or value is not None}
