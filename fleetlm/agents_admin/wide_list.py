"""Lists with many columns over tables of any size."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from conversations.readonly_admin import LargeTableAdmin


class WideListAdmin(LargeTableAdmin):
    """A list without the menu of all models beside it, and without counts of what each filter would show."""

    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ("fleetlm/agents_admin.css",)}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"is_nav_sidebar_enabled": False, **(extra_context or {})})
