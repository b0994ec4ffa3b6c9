"""Traces, by OpenTelemetry's own environment variables only, and free of charge while they are not set.

On with `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), which is where spans go over
OTLP/HTTP, or with `OTEL_TRACES_EXPORTER` naming `otlp` or `console`. Off with `OTEL_SDK_DISABLED=true` or
`OTEL_TRACES_EXPORTER=none`. The SDK itself honours the rest: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*` and so on. This module is the one place
outside `fleetlm/config.py` that reads the environment: those names belong to OpenTelemetry, and asking its
SDK would load it.

Pages get their spans from OpenTelemetry's own `DjangoInstrumentor`. Its middleware is synchronous, which costs a request a
thread hop, so the API's routes, which have their own list of middleware, get theirs from `traced_app`, at the ASGI door.
"""

import logging
import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NO_SPAN: Final[AbstractContextManager[None]] = nullcontext()

logger = logging.getLogger(__name__)


class _State:
    tracer: "Tracer | None" = None
    provider: "TracerProvider | None" = None


def configure_tracing(service_name: str) -> bool:
    """Start tracing if the environment asks for it; whether it did. A second call changes nothing.

    Call it once in every process that serves or dispatches, after a fork and before the ASGI application is
    made: first thing in `fleetlm/asgi.py` after Django's setup (`service_name="fleetlm-web"`), and where the
    dispatcher starts (`"fleetlm-dispatcher"`). `OTEL_SERVICE_NAME` wins over `service_name`.
    """
    exporters = _exporters_wanted()
    if not exporters or _State.tracer is not None:
        return _State.tracer is not None
    from opentelemetry import trace
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({"service.name": service_name}).merge(OTELResourceDetector().detect())
    _State.provider = TracerProvider(resource=resource)
    for exporter in exporters:
        _State.provider.add_span_processor(_processor(exporter))
    trace.set_tracer_provider(_State.provider)
    DjangoInstrumentor().instrument(tracer_provider=_State.provider, excluded_urls="static/,health,metrics")
    _State.tracer = _State.provider.get_tracer("fleetlm")
    return True


def is_on() -> bool:
    """Whether spans are being made."""
    return _State.tracer is not None


def stop_tracing(seconds: float = 2.0) -> None:
    """Send what waits and end. Blocks, for `seconds` at most: if the collector is away, what waits is lost.

    Call it (in a thread) when a process ends: a server that ends by a signal runs no exit handlers.
    """
    provider, _State.provider, _State.tracer = _State.provider, None, None
    if provider is not None:
        last_export = threading.Thread(target=provider.shutdown, name="last export of spans", daemon=True)
        last_export.start()
        last_export.join(seconds)


def span(name: str, **attributes: str | int | float | bool) -> AbstractContextManager[Any]:
    """A span around a piece of work: `with span("append", messages=3): …`. Nothing while tracing is off.

    Inside a request it is a child of the request's span; an exception that passes through marks it as failed.
    """
    if _State.tracer is None:
        return _NO_SPAN
    return _State.tracer.start_as_current_span(name, attributes=attributes)


def outgoing_headers() -> dict[str, str]:
    """`traceparent` (and `tracestate`) of the current span, for a call to a service; empty while off."""
    headers: dict[str, str] = {}
    if _State.tracer is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def _exporters_wanted() -> list[str]:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    named = [
        word.strip().lower() for word in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if word.strip()
    ]
    if not named and any(os.environ.get(name) for name in ENDPOINTS):
        return ["otlp"]
    if unknown := set(named) - {"otlp", "console", "none"}:
        logger.warning(
            "OTEL_TRACES_EXPORTER: %s is not one of otlp, console, none", ", ".join(sorted(unknown))
        )
    return [] if "none" in named else [word for word in ("otlp", "console") if word in named]


def _processor(exporter: str) -> "SpanProcessor":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    if exporter == "otlp":
        return BatchSpanProcessor(OTLPSpanExporter())
    return BatchSpanProcessor(ConsoleSpanExporter(out=sys.stderr))
