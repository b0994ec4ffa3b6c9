"""What a participant has read, and where it was mentioned. Everything else of an inbox is derived."""

from django.db import models
from django.db.models.functions import Now

from conversations.models import Conversation, Participant


class ReadCursor(models.Model):
    """The highest seq that a participant has read of a conversation, with the countable messages up to it.

    Unread is `conversation.countable - cursor.countable`: exact, and the same cost for one message or a million.
    """

    id = models.BigAutoField(primary_key=True)
    participant = models.ForeignKey(Participant, models.CASCADE, related_name="read_cursors", db_index=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="read_cursors")
    last_read_seq = models.BigIntegerField(default=0)
    countable = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    # Every send moves one: what moves is in no index, so that Postgres updates the row in place (HOT).
    class Meta:
        constraints = (
            # In this order its index also finds all cursors of a participant, for the inbox.
            models.UniqueConstraint(fields=("participant", "conversation"), name="read_cursor_once"),
        )

    def __str__(self) -> str:
        return f"{self.participant_id} has read {self.conversation_id} to {self.last_read_seq}"


class Mention(models.Model):
    """A message names a participant."""

    id = models.BigAutoField(primary_key=True)
    participant = models.ForeignKey(Participant, models.CASCADE, related_name="mentions", db_index=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="mentions", db_index=False)
    seq = models.BigIntegerField()

    class Meta:
        indexes = (
            models.Index(fields=("participant", "conversation", "seq"), name="mention_unread"),
            models.Index(fields=("conversation",), name="mention_conversation"),
        )

    def __str__(self) -> str:
        return f"{self.participant_id} in {self.conversation_id}/{self.seq}"
