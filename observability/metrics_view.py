"""`/metrics`, for Prometheus: this process, or all that share `PROMETHEUS_MULTIPROC_DIR`.

That directory must be empty when the processes start and be named in their environment before Python imports
`prometheus_client`: `manage.py serve` does so for its workers. The name belongs to `prometheus_client`, so it is read here.
"""

import os
from pathlib import Path

import psutil
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import multiprocess


async def metrics(request: HttpRequest) -> HttpResponse:
    """Every metric in the text format of Prometheus. Gathered in a thread: many processes mean many files."""
    response: HttpResponse = await sync_to_async(ExportToDjangoView, thread_sensitive=False)(request)
    return response


def forget_dead_processes() -> None:
    """Drop the live gauges of processes that are gone. Workers call it when they start: one of them has died before."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory is None:
        return
    for file in Path(directory).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
