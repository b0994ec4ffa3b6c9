"""Every failure in the one shape that clients see. Nothing that a client sends ends as a 500."""

import logging
from typing import Any

import django.db
import msgspec
import psycopg
from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent
from django.http import Http404
from psycopg_pool import PoolTimeout
from rest_framework.exceptions import APIException

from conversations.errors import FleetLMError, InvalidJSON, InvalidRequest, NotFound, TooLarge, Unavailable

logger = logging.getLogger(__name__)


class InternalError(FleetLMError):
    """A fault of ours. The log has it under the request's id."""

    code = "internal_error"
    status = 500
    message = "Something went wrong on our side; the log has the details under this request's id."


class MethodNotAllowed(FleetLMError):
    """The resource has no such method."""

    code = "method_not_allowed"
    status = 405
    message = "This resource does not take that method."


_DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    django.db.OperationalError,
    django.db.InterfaceError,
)


def as_error(error: Exception) -> FleetLMError:
    """What a client is told of this exception. Logs those that are our own fault."""
    if isinstance(error, FleetLMError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return invalid_value(error)
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
        return InvalidJSON()
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, DisallowedHost):
        return InvalidRequest("This host name is not one of FLEETLM_ALLOWED_HOSTS.", field="Host")
    if isinstance(error, TooManyFieldsSent):
        return InvalidRequest("The request has too many parameters.")
    if isinstance(error, Http404):
        return NotFound("There is nothing at this path; /api/docs lists what there is.")
    if isinstance(error, _DATABASE_AWAY):
        logger.warning("Postgres does not answer: %s", error)
        return Unavailable(retry_after=1)
    if isinstance(error, APIException):
        return _from_rest_framework(error)
    logger.error("A request failed", exc_info=error)
    return InternalError()


def invalid_value(error: msgspec.ValidationError) -> InvalidRequest:
    """A value of the wrong type: where it stands goes into the details."""
    message, _, path = str(error).partition(" - at ")
    details: dict[str, Any] = {"field": path.strip("`").removeprefix("$.")} if path else {}
    return InvalidRequest(message, **details)


def _from_rest_framework(error: APIException) -> FleetLMError:
    converted = FleetLMError(str(error.detail))
    converted.code = str(error.default_code)
    converted.status = error.status_code
    return converted
