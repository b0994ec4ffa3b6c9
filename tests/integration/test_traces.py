"""Spans of a real process, in the hands of a real OTLP/HTTP receiver."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from fleetlm.config import PROJECT_ROOT

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


class Receiver(ThreadingHTTPServer):
    """Keeps every export it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Intake)
        self.exports: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for export in self.exports
            for resource in export.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


class Intake(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.paths.add(self.path)
        self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the base class
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(**variables: str) -> dict[str, Any]:
    """Run the program; what it reports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.integration.traced_program"],
        cwd=PROJECT_ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "fleetlm.settings", **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def attributes_of(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_request_is_one_trace_from_its_caller_to_the_next_service(receiver: Receiver) -> None:
    report = run(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    server = receiver.spans["POST /api/conversations/{key}/messages"]
    append = receiver.spans["append"]
    assert (receiver.paths, receiver.services) == ({"/v1/traces"}, {"fleetlm-tests"})
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert server.kind == Span.SPAN_KIND_SERVER
    assert attributes_of(server) == {
        "http.request.method": "POST",
        "http.route": "/api/conversations/{key}/messages",
        "http.response.status_code": 201,
        "url.path": "/api/conversations/a:b/messages",
        "url.scheme": "http",
        "fleetlm.request_id": "mine",
    }
    assert append.parent_span_id == server.span_id
    assert attributes_of(append) == {"messages": 3}
    assert report["headers"]["traceparent"] == f"00-{TRACE_ID}-{append.span_id.hex()}-01"


def test_a_failed_request_is_a_failed_span_and_health_checks_are_none(receiver: Receiver) -> None:
    run(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert receiver.spans["POST /api/broken"].status.code == Status.STATUS_CODE_ERROR
    assert not [name for name in receiver.spans if "health" in name]


def test_pages_are_traced_by_the_django_instrumentation(receiver: Receiver) -> None:
    run(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    span = receiver.spans["GET favicon.ico"]
    assert span.kind == Span.SPAN_KIND_SERVER
    assert attributes_of(span)["http.status_code"] == 301


def test_the_standard_variables_are_honoured(receiver: Receiver) -> None:
    run(
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{receiver.url}/elsewhere",
        OTEL_SERVICE_NAME="mine",
    )
    assert (receiver.paths, receiver.services) == ({"/elsewhere"}, {"mine"})


def test_a_sampler_that_takes_nothing_sends_nothing(receiver: Receiver) -> None:
    assert run(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_TRACES_SAMPLER="always_off")["on"]
    assert not receiver.exports


@pytest.mark.parametrize("variables", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_switched_off_nothing_is_loaded(receiver: Receiver, variables: dict[str, str]) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url} if variables else {}

    assert run(**endpoint, **variables) == {"on": False, "headers": {}, "loaded": False}
    assert not receiver.exports


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    began = time.monotonic()
    assert run(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")["on"]
    assert time.monotonic() - began < 25
