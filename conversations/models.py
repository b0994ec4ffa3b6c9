"""The tables of conversations. Constraints live here; decisions in `rules`; writes in `store`; reads in `queries`."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class Participant(models.Model):
    """Anyone who can speak. The id is the name that messages carry."""

    class Kind(models.TextChoices):
        """What a participant is."""

        USER = "user"
        AGENT = "agent"
        SYSTEM = "system"

    id = models.CharField(primary_key=True, max_length=128)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.USER)
    display_name = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=["user", "agent", "system"]), name="participant_kind"
            ),
            models.CheckConstraint(
                condition=Q(id__regex=r"^[A-Za-z0-9._@-]{1,128}$"), name="participant_id_form"
            ),
        )

    def __str__(self) -> str:
        return self.id


class Conversation(models.Model):
    """An append-only, ordered log of messages, and the counter that gives out its seqs.

    Whoever appends, or changes members or state, holds this row's lock. The columns that an append changes are in no
    index and the table's fill factor leaves room (migration 0002), so that Postgres updates the row in place (HOT):
    an index on one of them, on `updated_at` say, would be written to by every append.
    """

    class Kind(models.TextChoices):
        """How many may take part: two, some, everyone."""

        DM = "dm"
        GROUP = "group"
        BROADCAST = "broadcast"

    class State(models.TextChoices):
        """`open` takes messages; `closed` does not; `archived` does not and leaves the inbox."""

        OPEN = "open"
        CLOSED = "closed"
        ARCHIVED = "archived"

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=257, unique=True)
    epoch = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=9, choices=Kind)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    title = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # The newest seq given out, and how many of the messages up to it count as unread for those who have not read them.
    last_seq = models.BigIntegerField(default=0)
    countable = models.BigIntegerField(default=0)
    # The newest message that counts, as an inbox shows it: {seq, sender_id, text, created_at}.
    last_message = models.JSONField(null=True, blank=True)
    # The person who has taken over from the agents of this conversation, if one has.
    handed_to = models.CharField(max_length=128, blank=True)
    # Grows with every change of members, title or state: what caches compare.
    version = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now())
    members = models.ManyToManyField(Participant, through="Membership", related_name="conversations")

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=["dm", "group", "broadcast"]), name="conversation_kind"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "closed", "archived"]), name="conversation_state"
            ),
            models.CheckConstraint(
                condition=Q(kind="dm", key__contains=":") | (~Q(kind="dm") & ~Q(key__contains=":")),
                name="conversation_key_form",
            ),
            models.CheckConstraint(condition=Q(last_seq__gte=0), name="conversation_last_seq"),
        )

    def __str__(self) -> str:
        return self.key


class Membership(models.Model):
    """Who takes part in a conversation, in what role, since which seq."""

    class Role(models.TextChoices):
        """`admin` may change the conversation and its members."""

        MEMBER = "member"
        ADMIN = "admin"

    id = models.BigAutoField(primary_key=True)
    # No index of its own: that of `membership_once` begins with it.
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="memberships", db_index=False)
    # Nor here: `membership_of_participant` begins with it.
    participant = models.ForeignKey(Participant, models.CASCADE, related_name="memberships", db_index=False)
    role = models.CharField(max_length=8, choices=Role, default=Role.MEMBER)
    joined_seq = models.BigIntegerField(default=0)
    muted = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("conversation", "participant"), name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=["member", "admin"]), name="membership_role"),
        )
        # A participant's conversations, newest first, page by page, however many there are.
        indexes = (models.Index(fields=("participant", "conversation"), name="membership_of_participant"),)

    def __str__(self) -> str:
        return f"{self.participant_id} in {self.conversation_id}"


class Message(models.Model):
    """One entry of the log. Never changed, but for the blanking of a message that a redaction names.

    `sender_id` has no foreign key: a message outlives its sender. `conversation` has none in the database either: an append
    holds the conversation's row, so that a check per message would find nothing and cost much.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="messages", db_index=False, db_constraint=False
    )
    seq = models.BigIntegerField()
    # How many countable messages the conversation holds up to and including this one: unread counts are a difference.
    countable = models.BigIntegerField()
    sender_id = models.CharField(max_length=128)
    kind = models.CharField(max_length=64, default="text")
    text = models.TextField(blank=True)
    content = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    reply_to = models.BigIntegerField(null=True, blank=True)
    mentions = models.JSONField(default=list, blank=True)
    client_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  # absent is not empty
    created_at = models.DateTimeField()

    # What each index costs an append is measured by `python -m bench.growth --experiments`. Nothing reads in the order of
    # `created_at`; what is said about a time is asked of the id.
    class Meta:
        constraints = (
            # Pages of the log. It also holds what the row lock promises: every seq once.
            models.UniqueConstraint(fields=("conversation", "seq"), name="message_seq_once"),
            # A retry is never stored twice, whoever gets it. The dearest of the three: its entries are long, and they go to as
            # many pages as there are conversations. The primary key is the cheapest, since ids grow with time: always its last
            # page, which is in memory.
            models.UniqueConstraint(
                fields=("conversation", "sender_id", "client_id"),
                condition=Q(client_id__isnull=False),
                name="message_client_id_once",
            ),
            models.CheckConstraint(condition=Q(seq__gte=1), name="message_seq_positive"),
        )

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.seq}"
