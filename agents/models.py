"""How agents are called: endpoints, the delivery streams that carry conversations to them, and every attempt."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from conversations.models import Conversation, Participant


class AgentEndpoint(models.Model):
    """Where one agent is called, how it is spoken to and how much of the conversation it gets."""

    class Dialect(models.TextChoices):
        """How the agent is spoken to: see `agents/dialects/`."""

        WEBHOOK = "webhook"

    id = models.BigAutoField(primary_key=True)
    agent = models.OneToOneField(Participant, models.CASCADE, related_name="endpoint")
    url = models.URLField(max_length=2_000)
    dialect = models.CharField(max_length=16, choices=Dialect, default=Dialect.WEBHOOK)
    # The newest N messages that a call carries; null means all of them.
    context_messages = models.PositiveIntegerField(null=True, blank=True, default=50)
    # Milliseconds to wait for more messages before a call.
    debounce_ms = models.PositiveIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    # Signing secrets, encrypted: [{"id", "sealed", "expires_at"}]. Several while one is being rotated.
    secrets = models.JSONField(default=list, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.agent_id} at {self.url}"


class DeliveryStream(models.Model):
    """One endpoint's cursor over one conversation: what it has got, and when to call it next.

    There is a row for every conversation that the agent takes part in, not one for every message. `due_at` is
    null while there is nothing to do, and the index of due streams holds only those that have it: a million
    idle or parked streams cost the due ones nothing. While a dispatcher has the stream, `lease_id` says so
    and `due_at` is when the lease runs out, so that one look at one index finds the new, the retried and the
    abandoned.
    """

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(AgentEndpoint, models.CASCADE, related_name="streams")
    agent_id = models.CharField(max_length=128)  # the endpoint's agent, here so that an append need not join
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="streams", db_index=False)
    enabled = models.BooleanField(default=True)  # the endpoint's, here so that one row's lock decides
    # Everything up to and including this seq has been delivered.
    cursor = models.BigIntegerField(default=0)
    # The conversation's last seq at the newest append that concerns this agent: above the cursor, a call is
    # needed. Every such append writes it, whatever the stream is doing; that row lock is why no
    # acknowledgement can miss one.
    wanted_seq = models.BigIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    # The call under way or being retried: its webhook-id and the upper seq that its first attempt fixed.
    call_id = models.UUIDField(null=True, blank=True)
    call_seq = models.BigIntegerField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    first_failed_at = models.DateTimeField(null=True, blank=True)
    # Who is calling now. Whoever finishes a call must still hold it.
    lease_id = models.UUIDField(null=True, blank=True)
    # Gave up after the whole retry schedule; keeps its cursor and waits for an operator.
    parked_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            # In this order its index also finds the streams of a conversation, as every append must.
            models.UniqueConstraint(fields=("conversation", "endpoint"), name="stream_once"),
        )
        indexes = (models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="stream_due"),)

    def __str__(self) -> str:
        return f"{self.agent_id} over {self.conversation_id} at {self.cursor}"


class Attempt(models.Model):
    """One HTTP call of a delivery stream, with its outcome. Written once, pruned after some days."""

    class Outcome(models.TextChoices):
        """How the call ended. Only `answered` and `accepted` move the cursor."""

        ANSWERED = "answered"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        TIMED_OUT = "timed_out"
        UNREACHABLE = "unreachable"
        INVALID_ANSWER = "invalid_answer"

    id = models.BigAutoField(primary_key=True)
    # Without a constraint in the database: the record of a call may outlive its stream, until it is pruned.
    stream = models.ForeignKey(
        DeliveryStream, models.CASCADE, related_name="attempts_log", db_constraint=False
    )
    call_id = models.UUIDField()
    run_id = models.UUIDField()
    number = models.PositiveIntegerField()
    from_seq = models.BigIntegerField()
    to_seq = models.BigIntegerField()
    outcome = models.CharField(max_length=16, choices=Outcome)
    status = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField()
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("created_at",), name="attempt_created"),)

    def __str__(self) -> str:
        return f"{self.stream_id} attempt {self.number}: {self.outcome}"
