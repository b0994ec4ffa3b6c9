"""API keys in the admin: made, shown once, revoked."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from fleetlm.agents_admin import registered
from fleetlm.auth.keys import fill_key
from fleetlm.models import ApiKey

if TYPE_CHECKING:  # Django's own class takes no type arguments at run time
    ApiKeyAdminBase = admin.ModelAdmin[ApiKey]
    ApiKeyFormBase = forms.ModelForm[ApiKey]
else:
    ApiKeyAdminBase = admin.ModelAdmin
    ApiKeyFormBase = forms.ModelForm

__all__ = ["ApiKeyAdmin", "registered"]

admin.site.site_header = "FleetLM"
admin.site.site_title = "FleetLM"
admin.site.index_title = "Conversations and agents"


class ApiKeyForm(ApiKeyFormBase):
    """What a new key is for, and what it may do."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in ApiKey.SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=["read", "write"],
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes")


@admin.register(ApiKey)
class ApiKeyAdmin(ApiKeyAdminBase):
    """The key itself is shown when it is made, and never again; its digest is not shown at all."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "scope_names", "created_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "prefix")
    ordering = ("-id",)
    actions = ("revoke",)

    @admin.display(description="scopes")
    def scope_names(self, key: ApiKey) -> str:
        """The scopes in words."""
        return ", ".join(key.scopes)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """A new key: its name and scopes. An old one: all that is known of it."""
        if obj is None:
            return ("name", "scopes")
        return ("name", "prefix", "scope_names", "created_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Only the name of a key can be changed; revoking it is an action."""
        return () if obj is None else ("prefix", "scope_names", "created_at", "revoked_at")

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any
    ) -> type[ApiKeyFormBase]:
        """The form of a new key asks for scopes; that of an old one has no such field."""
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Keys are revoked, so that it stays known who had one."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Store the key; a new one is shown in a message on the next page."""
        if change:
            obj.save(update_fields=["name"])
            return
        shown_once = fill_key(obj)
        obj.save()
        messages.warning(request, f"Keep this key now, it cannot be shown again: {shown_once}")

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End keys for good. Every process has forgotten them within `FLEETLM_AUTH_CACHE_SECONDS`."""
        revoked = queryset.filter(revoked_at=None).update(revoked_at=Now())
        messages.success(request, f"{revoked} revoked.")
