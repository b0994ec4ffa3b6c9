from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    """Metrics, traces, logs and health."""

    name = "observability"
