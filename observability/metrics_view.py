"""`/metrics`, for Prometheus: this process, or all that share `PROMETHEUS_MULTIPROC_DIR`.

That directory must be empty when the processes start and be named in their environment before Python imports
`prometheus_client`; whoever ends a process calls `prometheus_client.multiprocess.mark_process_dead(pid)`
afterwards.
"""

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django_prometheus.exports import ExportToDjangoView


async def metrics(request: HttpRequest) -> HttpResponse:
    """Every metric in the text format of Prometheus. Gathered in a thread: many processes mean many files."""
    response: HttpResponse = await sync_to_async(ExportToDjangoView, thread_sensitive=False)(request)
    return response
