"""`/health`, `/health/live` and `/health/ready`: async views, good for any ASGI server.

Probes call by IP address: serve these without `CommonMiddleware`, which would refuse a host that is not
allowed.
"""

from django.conf import settings
from django.http import HttpRequest, JsonResponse

from observability.health import check, is_draining

NO_STORE = {"Cache-Control": "no-store"}


async def live(request: HttpRequest) -> JsonResponse:
    """200 while the event loop runs. Tells nothing of dependencies: a restart here mends none."""
    return JsonResponse({"status": "ok"}, headers=NO_STORE)


async def ready(request: HttpRequest) -> JsonResponse:
    """200 while requests can be served, 503 while Postgres or a migration is missing or it drains."""
    if is_draining():
        return _answer({"status": "draining"}, 503)
    health = await check()
    return _answer(
        {"status": health.status, "dependencies": health.dependencies}, 200 if health.ready else 503
    )


async def summary(request: HttpRequest) -> JsonResponse:
    """The same for people, with the version; draining does not hide what is known of the dependencies."""
    health = await check()
    served = health.ready and not is_draining()
    body = {
        "status": "draining" if is_draining() else health.status,
        "version": settings.SPECTACULAR_SETTINGS["VERSION"],
        "dependencies": health.dependencies,
    }
    return _answer(body, 200 if served else 503)


def _answer(body: dict[str, object], status: int) -> JsonResponse:
    headers = NO_STORE if status == 200 else {**NO_STORE, "Retry-After": "2"}
    response = JsonResponse(body, status=status, headers=headers)
    # The check has said in the log what is wrong; Django would add an error for every probe.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
