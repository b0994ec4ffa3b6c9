from django.apps import AppConfig


class RuntimeConfig(AppConfig):
    """What moves: gateway, appender, sessions, inbox server, dispatcher."""

    name = "runtime"
