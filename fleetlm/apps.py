from django.apps import AppConfig


class FleetLMConfig(AppConfig):
    """The surface: REST, sockets, who may do what, the playground."""

    name = "fleetlm"
