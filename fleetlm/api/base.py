"""The base of every REST resource: an async `APIView` that reads and writes JSON without serializer copies.

Handlers are coroutines that return a `Reply` or any Django response. Bodies and queries are msgspec structs, which
are the schema's components too. Synchronous ORM work goes through `runtime.database.in_thread`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from conversations.errors import FleetLMError, InvalidRequest, TooLarge, UnsupportedMediaType
from fleetlm.auth.authenticate import authenticate, bearer
from fleetlm.auth.principal import Principal
from fleetlm.errors import MethodNotAllowed, as_error
from runtime.core import Runtime, current

S = TypeVar("S", bound=msgspec.Struct)

ALLOWED_HOSTS_REMEMBERED = 100

_allowed_hosts: set[str | None] = set()

_METHODS = frozenset({"get", "post", "patch", "put", "delete"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON-ready data, or JSON already encoded."""

    data: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class ApiView(APIView):
    """One resource. `self.runtime` and `self.principal` are set before a handler runs."""

    runtime: Runtime
    principal: Principal
    public = False

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Authenticate, call the method's handler and render what it returns or raises."""
        self.request = request  # type: ignore[assignment]
        try:
            _check_host(request)
            self.runtime = current()
            if not self.runtime.started:
                await self.runtime.start()
            self.principal = await self._authenticate(request)
            reply = await self._handler(request)(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # the one place where errors are rendered
            return error_response(as_error(error))
        return render(reply) if isinstance(reply, Reply) else reply

    async def _authenticate(self, request: HttpRequest) -> Principal:
        return await authenticate(self.runtime, bearer(request.META.get("HTTP_AUTHORIZATION")))

    def _handler(self, request: HttpRequest) -> Callable[..., Any]:
        method = (request.method or "").lower()
        if method == "head":
            method = "get"
        handler: Callable[..., Any] | None = getattr(self, method, None) if method in _METHODS else None
        if handler is None:
            raise MethodNotAllowed(allow=sorted(name.upper() for name in _METHODS if hasattr(self, name)))
        return handler

    def body(self, form: type[S]) -> S:
        """The request's body as this struct. Raises the errors of a body that is too large, not JSON, or not this."""
        return read_body(self.request, form)

    def query(self, form: type[S]) -> S:
        """The query parameters as this struct; numbers and booleans are read from their text."""
        return msgspec.convert(_query_values(self.request), form, strict=False)


def _check_host(request: HttpRequest) -> None:
    """Raises `DisallowedHost`. Hosts once found allowed are remembered: the check takes longer than finding the view."""
    host = request.META.get("HTTP_HOST")
    if host not in _allowed_hosts:
        request.get_host()
        if len(_allowed_hosts) < ALLOWED_HOSTS_REMEMBERED:
            _allowed_hosts.add(host)


def read_body(request: Any, form: type[S]) -> S:
    """Decode a JSON body into a struct; see `ApiView.body`."""
    raw: bytes = request.body
    if len(raw) > settings.FLEETLM.request_bytes:
        raise TooLarge(limit=settings.FLEETLM.request_bytes)
    if not raw:
        raw = b"{}"
    elif request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    return msgspec.json.decode(raw, type=form)


def _query_values(request: Any) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, texts in request.GET.lists():
        if len(texts) > 1:
            raise InvalidRequest(f"{name} was given more than once.", field=name)
        values[name] = texts[0]
    return values


def render(reply: Reply) -> HttpResponse:
    """A Django response of a reply; bytes are taken for JSON already encoded."""
    if reply.status == 204:
        return HttpResponse(status=204, headers=reply.headers)
    body = reply.data if isinstance(reply.data, bytes) else _encode(reply.data)
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **reply.headers}
    return HttpResponse(body, status=reply.status, headers=headers)


def _encode(data: Any) -> bytes:
    try:
        return orjson.dumps(data)
    except TypeError:
        # Postgres writes a JSON number like 1e308 out in full, and Django's JSONField reads that as an integer of 309 digits.
        return msgspec.json.encode(data)


def render_error(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The REST framework's own views (schema, docs) answer errors in the same shape."""
    return error_response(as_error(error))


def error_response(error: FleetLMError) -> HttpResponse:
    """A Django response of an error."""
    headers: dict[str, str] = {}
    if "retry_after" in error.details:
        headers["Retry-After"] = str(error.details["retry_after"])
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 405:
        headers["Allow"] = ", ".join(error.details.get("allow", []))
    return render(Reply(error.as_dict(), error.status, headers))
