from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Agent endpoints, delivery streams and attempts."""

    name = "agents"
