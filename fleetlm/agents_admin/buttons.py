"""Buttons on the page of a row: each a POST with its own address, permission, question and entry in the log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from conversations.errors import FleetLMError
from fleetlm.agents_admin.wide_list import WideListAdmin

ASK_TEMPLATE: Final = "admin/agents/ask.html"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a button has done. `said` goes into the log and to the operator; a `template` is shown in place of the row's
    page, for what must neither be logged nor kept in a cookie."""

    said: str
    template: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """One of them. It acts at once, or asks its `question` on a page of its own first."""

    name: str
    """In its address."""
    label: str
    act: Callable[[Any, Mapping[str, Any]], Outcome]
    """Gets the row and what the form was filled in with. Raises `FleetLMError`, which is shown."""
    question: str = ""
    form: type[forms.Form] | None = None
    """What it has to know. A button with a form always asks."""
    useful: Callable[[Any], bool] = lambda row: True
    """Whether it is shown for this row."""
    harmful: bool = False
    """Shown in red."""

    @property
    def asks(self) -> bool:
        """Whether a page comes before the deed."""
        return bool(self.question) or self.form is not None


@dataclass(frozen=True, slots=True)
class Shown:
    """A button as a row's page shows it."""

    button: Button
    address: str
    form: forms.Form | None


class ButtonsAdmin(WideListAdmin):
    """A page with buttons, for those who may press them."""

    buttons: tuple[Button, ...] = ()

    def has_press_permission(self, request: HttpRequest, row: Any = None) -> bool:
        """Whether this operator may press any."""
        return self.has_change_permission(request, row)

    def get_urls(self) -> list[URLPattern]:
        """The buttons' addresses, before Django's own."""
        ours = path(
            "<path:object_id>/do/<slug:name>/", self.admin_site.admin_view(self.press), name=self._route()
        )
        return [ours, *super().get_urls()]

    def shown_buttons(self, request: HttpRequest, row: Any) -> list[Shown]:
        """The buttons that are of use now; none for those who may only look."""
        if not self.has_press_permission(request, row):
            return []
        useful = (button for button in self.buttons if button.useful(row))
        return [
            Shown(
                button,
                self.address_of(button, row),
                button.form(auto_id=f"{button.name}_%s") if button.form else None,
            )
            for button in useful
        ]

    def address_of(self, button: Button, row: Any) -> str:
        """Where a button is pressed."""
        return reverse(f"admin:{self._route()}", args=(row.pk, button.name))

    def press(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """GET asks, POST acts."""
        button = next((one for one in self.buttons if one.name == name), None)
        row = self.get_object(request, unquote(object_id))
        if button is None or row is None:
            raise Http404
        if not self.has_press_permission(request, row):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request, button, row)
        if request.method == "GET":
            form = button.form(initial=request.GET.dict()) if button.form else None
            return self._page(request, row, ASK_TEMPLATE, {"button": button, "form": form})
        return HttpResponseNotAllowed(["GET", "POST"])

    def _act(self, request: HttpRequest, button: Button, row: Any) -> HttpResponse:
        form = button.form(request.POST) if button.form else None
        if form is not None and not form.is_valid():
            return self._page(request, row, ASK_TEMPLATE, {"button": button, "form": form})
        try:
            outcome = button.act(row, form.cleaned_data if form else {})
        except FleetLMError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self.page_of(row))
        self.log_change(request, row, outcome.said)
        if outcome.template:
            return self._page(request, row, outcome.template, {"button": button, **outcome.context})
        messages.success(request, outcome.said)
        return HttpResponseRedirect(self.page_of(row))

    def title_of(self, row: Any) -> str:
        """What an operator calls this row: no number that only the database knows."""
        return str(row)

    def page_of(self, row: Any) -> str:
        """The row's own page."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=(row.pk,))

    def _page(
        self, request: HttpRequest, row: Any, template: str, context: Mapping[str, Any]
    ) -> HttpResponse:
        everywhere = self.admin_site.each_context(request)
        own = {
            "opts": self.opts,
            "row": row,
            "page": self.page_of(row),
            "media": self.media,
            "title": self.title_of(row),
        }
        return TemplateResponse(request, template, {**everywhere, **own, **context})

    def _route(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_press"
