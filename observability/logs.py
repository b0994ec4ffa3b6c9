"""Log lines: one JSON object each (or plain text), with the id of the request that they belong to."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestIdFilter(logging.Filter):
    """Adds `request_id` to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record; give it the current request's id, or `-`."""
        record.request_id = request_id.get() or "-"
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, `request_id`, `process`, what came as
    `extra`, and `exception` with its traceback where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; a value that JSON does not have is shown as its text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line.update({name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return orjson.dumps(line, default=str, option=_OPTIONS).decode()
        except orjson.JSONEncodeError:  # text that is not valid Unicode, or an integer of more than 64 bits
            return json.dumps(line, default=str, skipkeys=True)


_OF_EVERY_RECORD: Final = frozenset(
    {*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "taskName"}
)
_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def logging_config(form: str, level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig` for `form` (`json` or `text`) at `level`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "observability.logs.RequestIdFilter"}},
        "formatters": {
            "json": {"()": "observability.logs.JsonFormatter"},
            "text": {"format": "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": form, "filters": ["request_id"]},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "uvicorn": {"level": "WARNING", "propagate": True},
            # It says the same for every try while Postgres is away; we say it once.
            "psycopg.pool": {"level": "ERROR"},
            "daphne": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            # While Valkey is away this would log a stack trace every second; `runtime.channel_layer` says it
            # once.
            "channels_redis.pubsub": {"level": "CRITICAL"},
        },
    }
