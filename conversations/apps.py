from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Participants, conversations, memberships and messages."""

    name = "conversations"
