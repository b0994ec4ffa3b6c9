"""The forms of endpoints: what REST checks is checked here too, by the same functions."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django import forms
from django.conf import settings
from django.contrib.admin import widgets
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from agents import secrets
from agents.dialects import DIALECTS
from agents.models import AgentEndpoint, Endpoint, Subscription
from agents.rules import CONTEXT_MESSAGES_MAX, DEBOUNCE_MAX_MS, check_headers, check_url
from conversations.errors import FleetLMError
from conversations.models import Conversation
from conversations.rules import check_id, check_json

if TYPE_CHECKING:  # Django's own class takes no type arguments at run time
    EndpointFormBase = forms.ModelForm[Endpoint]
else:
    EndpointFormBase = forms.ModelForm

T = TypeVar("T")

SERVERS_OWN: Final = "Empty: the server's default."


def checked(check: Callable[..., T], *arguments: Any) -> T:
    """What the check returns; what it refuses becomes an error of the form."""
    try:
        return check(*arguments)
    except FleetLMError as error:
        raise ValidationError(str(error)) from None


class JSONText(forms.JSONField):
    """JSON that may be left empty: an empty field, where Django shows `null`."""

    widget = widgets.AdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        """What stands in the field."""
        return "" if value is None else super().prepare_value(value)


class EndpointForm(EndpointFormBase):
    """What agents and subscriptions have in common. What an endpoint keeps to itself goes in and never comes out."""

    url = forms.CharField(
        label="URL", max_length=2_000, widget=widgets.AdminTextInputWidget(attrs={"class": "vLargeTextField"})
    )
    debounce_ms = forms.IntegerField(
        label="Debounce (ms)",
        required=False,
        min_value=0,
        max_value=DEBOUNCE_MAX_MS,
        help_text="Milliseconds without news before a call. Empty: none in a dm, the server's default in a group.",
    )
    max_in_flight = forms.IntegerField(
        label="Calls at once",
        required=False,
        min_value=1,
        max_value=10_000,
        help_text="In one dispatcher. Empty: as many as its fair share allows.",
    )
    timeout_seconds = forms.FloatField(
        label="Timeout (s)",
        required=False,
        min_value=1,
        max_value=600,
        help_text=f"For one answer. {SERVERS_OWN}",
    )
    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=4_096,
        validators=[RegexValidator(r"^[\x21-\x7e]+\Z", "Printable ASCII characters without spaces.")],
        widget=forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "new-password"}),
        help_text="Sent as “Authorization: Bearer …”. It is never shown. Empty: stays as it is.",
    )
    remove_api_key = forms.BooleanField(label="Remove the API key", required=False)
    headers = JSONText(
        required=False,
        widget=widgets.AdminTextareaWidget(attrs={"rows": 3}),
        help_text="Custom headers, all of them: {"
        '"x-tenant": "acme"}. Their values are never shown. Empty: they stay as they are; {} removes them.',
    )

    own_settings: tuple[str, ...] = ("url", "debounce_ms", "max_in_flight", "timeout_seconds", "description")
    """The fields that are the endpoint's, by the names of `agents.models.Endpoint`."""

    def clean_url(self) -> str:
        """Where it is called."""
        return checked(check_url, self.cleaned_data["url"])

    def clean_headers(self) -> dict[str, str] | None:
        """Names and values of headers, or None: they stay."""
        headers = self.cleaned_data["headers"]
        if headers is None:
            return None
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise ValidationError("Headers must be an object of names and string values.")
        checked(check_headers, headers)
        return headers

    def _get_validation_exclusions(self) -> set[str]:
        # The model's own check of URLs does not know hosts such as `http://agent:8080`; `check_url` has looked.
        return {*super()._get_validation_exclusions(), "url"}  # type: ignore[misc]  # Django's own, not in the stubs

    def changes(self) -> dict[str, Any]:
        """The settings that were changed."""
        return {name: self.cleaned_data[name] for name in self.own_settings if name in self.changed_data}

    def all_settings(self) -> dict[str, Any]:
        """The settings of a new endpoint."""
        return {name: self.cleaned_data[name] for name in self.own_settings if name in self.cleaned_data}

    def private_changes(self) -> dict[str, Any]:
        """What is to be changed of headers and key: those of them that it holds."""
        given = self.cleaned_data
        changed: dict[str, Any] = {}
        if given.get("headers") is not None:
            changed["headers"] = given["headers"]
        if given.get("api_key"):
            changed["api_key"] = given["api_key"]
        elif given.get("remove_api_key"):
            changed["api_key"] = None
        return changed

    def private(self) -> secrets.Private:
        """Headers and key of a new endpoint."""
        return secrets.Private(**self.private_changes())


class AgentForm(EndpointForm):
    """An agent's endpoint, and the name that its participant is shown by."""

    agent_id = forms.CharField(
        label="Agent id",
        max_length=128,
        help_text="The participant that it is: shipping-bot. One that was written to before may become an agent.",
    )
    display_name = forms.CharField(required=False, max_length=200, widget=widgets.AdminTextInputWidget)
    context_messages = forms.IntegerField(
        label="Context (messages)",
        required=False,
        min_value=1,
        max_value=CONTEXT_MESSAGES_MAX,
        help_text=f"The newest messages that a call carries. Empty: all, up to {CONTEXT_MESSAGES_MAX:,}.",
    )
    context_tokens = forms.IntegerField(
        label="Context (tokens)",
        required=False,
        min_value=1,
        max_value=10_000_000,
        help_text="A budget of estimated tokens; it goes before the number of messages.",
    )
    options = JSONText(
        required=False,
        widget=widgets.AdminTextareaWidget(attrs={"rows": 4}),
        help_text="Of the dialect, an object. For openai for example model, system_prompt, temperature, max_tokens.",
    )

    own_settings = (
        *EndpointForm.own_settings,
        *("dialect", "trigger", "while_running", "context_messages", "context_tokens", "options"),
    )

    class Meta:
        model = AgentEndpoint
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = not self.instance._state.adding
        if known:
            self.fields.pop("agent_id", None)
            if "display_name" in self.fields and self.instance.agent is not None:
                self.initial["display_name"] = self.instance.agent.display_name
        elif "context_messages" in self.fields:
            self.initial.setdefault("context_messages", settings.FLEETLM.agent_context_messages)

    def clean_agent_id(self) -> str:
        """An id that is an agent's not yet."""
        agent_id = checked(check_id, self.cleaned_data["agent_id"])
        if AgentEndpoint.objects.filter(agent_id=agent_id).exists():
            raise ValidationError("This agent is registered already.")
        return agent_id

    def clean_options(self) -> dict[str, Any]:
        """An object; what it holds is the dialect's matter."""
        options = self.cleaned_data["options"]
        if options is None:
            return {}
        if not isinstance(options, dict):
            raise ValidationError("Options must be an object.")
        checked(check_json, options, "options", settings.FLEETLM.json_depth)
        return options

    def clean(self) -> dict[str, Any]:
        """Options are of the dialect."""
        cleaned = super().clean() or self.cleaned_data
        dialect, options = cleaned.get("dialect"), cleaned.get("options")
        if dialect in DIALECTS and options is not None:
            try:
                DIALECTS[dialect].check_options(options)
            except FleetLMError as error:
                self.add_error("options", str(error))
        return cleaned

    def changes(self) -> dict[str, Any]:
        """The settings that were changed, the participant's name among them."""
        changes = super().changes()
        if "display_name" in self.changed_data:
            changes["display_name"] = self.cleaned_data["display_name"]
        return changes


class SubscriptionForm(EndpointForm):
    """A subscription. What it is told of is settled when it is made."""

    conversation_kinds = forms.MultipleChoiceField(
        required=False,
        choices=[(kind, kind) for kind in Conversation.Kind.values if kind != "broadcast"],
        widget=forms.CheckboxSelectMultiple,
        help_text="None: all.",
    )
    message_kinds = forms.CharField(
        required=False,
        max_length=1_000,
        widget=widgets.AdminTextInputWidget,
        validators=[RegexValidator(r"^[a-z0-9_.,\s-]*\Z", "Kinds are of a-z, 0-9, and . _ -")],
        help_text="Separated by commas: text, tool_call. Empty: all.",
    )
    key_prefix = forms.CharField(
        required=False,
        max_length=257,
        widget=widgets.AdminTextInputWidget,
        validators=[RegexValidator(r"^[A-Za-z0-9._@:-]*\Z", "No conversation has such a key.")],
        help_text="Only conversations whose key begins so. Empty: all.",
    )
    participant_id = forms.CharField(
        label="Participant",
        required=False,
        max_length=128,
        widget=widgets.AdminTextInputWidget,
        help_text="Only conversations that this one takes part in. Empty: all.",
    )

    made_with: tuple[str, ...] = (*("key_prefix", "participant_id", "conversation_kinds", "message_kinds"),)

    class Meta:
        model = Subscription
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            for name in (*self.made_with, "event"):
                self.fields.pop(name, None)
        elif "event" in self.fields:
            self.fields["event"].required = True

    def clean_participant_id(self) -> str:
        """An id, or nothing."""
        participant_id: str = self.cleaned_data["participant_id"]
        return checked(check_id, participant_id, "participant_id") if participant_id else ""

    def clean_message_kinds(self) -> list[str]:
        """The kinds, one by one."""
        return sorted(
            {kind.strip() for kind in self.cleaned_data["message_kinds"].split(",") if kind.strip()}
        )

    def all_settings(self) -> dict[str, Any]:
        """The settings of a new subscription, with what it is told of."""
        return super().all_settings() | {name: self.cleaned_data[name] for name in self.made_with}
