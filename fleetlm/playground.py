"""The playground: one page on which a person tries conversations with people and agents."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@require_safe
@never_cache
def playground(request: HttpRequest) -> HttpResponse:
    """Serve the page in development, and to staff anywhere; to others it does not exist.

    Raises:
        Http404: outside development, to anyone who is not staff.
    """
    if not _may_play(request):
        raise Http404
    response = render(request, "fleetlm/playground.html")
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    # A token may stand in the page's address; it stays out of everybody's logs.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _may_play(request: HttpRequest) -> bool:
    if settings.FLEETLM.environment == "development":
        return True
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)
