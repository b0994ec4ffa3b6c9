from django.apps import AppConfig


class InboxConfig(AppConfig):
    """Read cursors, mentions and inbox entries."""

    name = "inbox"
