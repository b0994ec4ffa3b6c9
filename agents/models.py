"""Where calls go, the delivery streams that carry conversations there, and every attempt.

An agent's endpoint and a subscription are both an `Endpoint`: one signature, one door, one retry schedule, one breaker.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from conversations.models import Conversation, Participant


class Endpoint(models.Model):
    """A URL that is called: an agent's, or a subscription's. `AgentEndpoint` and `Subscription` are its two halves."""

    class Dialect(models.TextChoices):
        """How an agent is spoken to: see `agents/dialects/`."""

        WEBHOOK = "webhook"
        AG_UI = "ag-ui", "AG-UI"
        OPENAI = "openai", "OpenAI"

    class Trigger(models.TextChoices):
        """Which messages of others an agent is called for."""

        ALL = "all"
        MENTION = "mention"
        NONE = "none"

    class WhileRunning(models.TextChoices):
        """What a new message does to a call that is under way: it waits, or it ends that call."""

        QUEUE = "queue"
        INTERRUPT = "interrupt"

    class Event(models.TextChoices):
        """What a subscription is told of."""

        MESSAGE_CREATED = "message.created"
        BROADCAST_CREATED = "broadcast.created"
        INBOX_UPDATED = "inbox.updated"

    id = models.BigAutoField(primary_key=True)
    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    agent = models.OneToOneField(Participant, models.CASCADE, related_name="endpoint", null=True, blank=True)
    url = models.URLField(max_length=2_000)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    # Milliseconds without news before a call; null: none in a dm, the server's default in a group.
    debounce_ms = models.PositiveIntegerField(null=True, blank=True)
    # Calls under way at once in one dispatcher; null: as many as its fair share allows.
    max_in_flight = models.PositiveIntegerField(null=True, blank=True)
    # Seconds that one answer may take; null: the server's default.
    timeout_seconds = models.FloatField(null=True, blank=True)
    # Signing secrets, encrypted: [{"id", "sealed", "expires_at"}]. Several while one is being rotated.
    secrets = models.JSONField(default=list, editable=False)
    # Custom headers and the API key, encrypted together; the names of the headers, to be shown.
    sealed = models.TextField(blank=True, editable=False)
    header_names = models.JSONField(default=list, editable=False)

    # Of an agent.
    dialect = models.CharField(max_length=16, choices=Dialect, default=Dialect.WEBHOOK)
    options = models.JSONField(default=dict, blank=True)
    # The newest N messages that a call carries; null means all of them. A token budget goes first.
    context_messages = models.PositiveIntegerField(null=True, blank=True, default=50)
    context_tokens = models.PositiveIntegerField(null=True, blank=True)
    trigger = models.CharField(max_length=8, choices=Trigger, default=Trigger.ALL)
    while_running = models.CharField(max_length=9, choices=WhileRunning, default=WhileRunning.QUEUE)

    # Of a subscription. Its filters never change: what it was told of would otherwise have no meaning.
    event = models.CharField(max_length=24, choices=Event, blank=True)
    description = models.CharField(max_length=200, blank=True)
    key_prefix = models.CharField(max_length=257, blank=True)
    participant_id = models.CharField(max_length=128, blank=True)
    conversation_kinds = models.JSONField(default=list, blank=True)
    message_kinds = models.JSONField(default=list, blank=True)

    # Health. `failures` counts calls in a row, of whatever stream, that failed; enough of them open the breaker:
    # from `opened_at` on only one call at a time is let through, at `probe_at`, to see whether it is well again.
    failures = models.PositiveIntegerField(default=0, editable=False)
    opened_at = models.DateTimeField(null=True, blank=True, editable=False)
    probe_at = models.DateTimeField(null=True, blank=True, editable=False)
    probe_pause = models.FloatField(default=0, editable=False)  # seconds between the last probe and the next
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(agent__isnull=False, event="") | (Q(agent__isnull=True) & ~Q(event="")),
                name="endpoint_of_one_kind",
            ),
        )
        indexes = (
            # What every append looks at: it holds subscriptions only.
            models.Index(fields=("event",), condition=~Q(event=""), name="endpoint_subscriptions"),
            models.Index(fields=("probe_at",), condition=Q(probe_at__isnull=False), name="endpoint_probes"),
        )

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"

    @property
    def name(self) -> str:
        """The agent's id, or the subscription's: what operators and metrics call it."""
        return self.agent_id if self.agent_id is not None else f"subscription-{self.public_id}"


class AgentEndpoints(models.Manager["AgentEndpoint"]):
    """Endpoints of agents only."""

    def get_queryset(self) -> models.QuerySet["AgentEndpoint"]:
        """Those that have an agent."""
        return super().get_queryset().filter(agent__isnull=False)


class AgentEndpoint(Endpoint):
    """Where one agent is called, how it is spoken to and how much of the conversation it gets."""

    objects: ClassVar = AgentEndpoints()

    class Meta:
        proxy = True


class Subscriptions(models.Manager["Subscription"]):
    """Subscriptions only."""

    def get_queryset(self) -> models.QuerySet["Subscription"]:
        """Those that name an event."""
        return super().get_queryset().exclude(event="")


class Subscription(Endpoint):
    """A URL that gets event webhooks."""

    objects: ClassVar = Subscriptions()

    class Meta:
        proxy = True


class DeliveryStream(models.Model):
    """One endpoint's cursor over one conversation: what it has got, and when to call it next.

    There is a row for every conversation that concerns the endpoint, not one for every message. `due_at` is
    null while there is nothing to do, and the index of due streams holds only those that have it: a million
    idle or parked streams cost the due ones nothing. While a dispatcher has the stream, `lease_id` says so
    and `due_at` is when the lease runs out, so that one look at one index finds the new, the retried and the
    abandoned.
    """

    class ParkReason(models.TextChoices):
        """Why no more calls are made until someone resumes the stream."""

        EXHAUSTED = "exhausted"
        OPERATOR = "operator"

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="streams")
    # The endpoint's agent, here so that an append need not join; null for a subscription.
    agent_id = models.CharField(max_length=128, null=True)  # noqa: DJ001  # absent is not empty
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="streams", db_index=False)
    enabled = models.BooleanField(default=True)  # the endpoint's, here so that one row's lock decides
    handed_over = models.BooleanField(
        default=False
    )  # a person has the conversation; so has this agent a rest
    # Overrides the endpoint's trigger in this conversation; empty: it does not.
    trigger = models.CharField(max_length=8, choices=Endpoint.Trigger, blank=True)
    # Everything up to and including this seq has been delivered.
    cursor = models.BigIntegerField(default=0)
    # The conversation's last seq at the newest append that concerns this endpoint: above the cursor, a call is
    # needed. Every such append writes it, whatever the stream is doing; that row lock is why no
    # acknowledgement can miss one. A stream of `inbox.updated` counts changes instead of seqs.
    wanted_seq = models.BigIntegerField(default=0)
    waiting_since = models.DateTimeField(null=True, blank=True)  # the oldest news that it has not got
    due_at = models.DateTimeField(null=True, blank=True)
    # The call under way or being retried: its webhook-id and the upper seq that its first attempt fixed.
    call_id = models.UUIDField(null=True, blank=True)
    call_seq = models.BigIntegerField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    first_failed_at = models.DateTimeField(null=True, blank=True)
    # Who is calling now, and the run that this attempt is. Whoever finishes a call must still hold the lease.
    lease_id = models.UUIDField(null=True, blank=True)
    run_id = models.UUIDField(null=True, blank=True)
    cancel_run_id = models.UUIDField(null=True, blank=True)  # someone wants this run to end
    # A range that is delivered once more: what of it has been, and its end. The cursor stays where it is.
    replay_cursor = models.BigIntegerField(null=True, blank=True)
    replay_to = models.BigIntegerField(null=True, blank=True)
    # The endpoint's breaker is open. `due_at` is then when the stream would be given up.
    blocked = models.BooleanField(default=False)
    # No more calls until it is resumed; keeps its cursor.
    parked_at = models.DateTimeField(null=True, blank=True)
    park_reason = models.CharField(max_length=16, choices=ParkReason, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # `due_at` must be in an index, so a stream that comes due, is claimed and comes to rest is written to every index each
    # time; the appends between, to one that is due or in flight already, leave `due_at` alone and stay in the page (HOT).
    class Meta:
        constraints = (
            # In this order its index also finds the streams of a conversation, as every append must.
            models.UniqueConstraint(fields=("conversation", "endpoint"), name="stream_once"),
        )
        indexes = (
            models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="stream_due"),
            models.Index(fields=("endpoint", "due_at"), condition=Q(blocked=True), name="stream_blocked"),
            models.Index(fields=("endpoint",), condition=Q(parked_at__isnull=False), name="stream_parked"),
        )

    def __str__(self) -> str:
        return f"{self.agent_id or self.endpoint_id} over {self.conversation_id} at {self.cursor}"


class Attempt(models.Model):
    """One HTTP call of a delivery stream, with its outcome. Written once, pruned after some days."""

    class Outcome(models.TextChoices):
        """How it ended. `answered`, `accepted`, `cancelled` move the cursor; `interrupted` once an answer had begun."""

        ANSWERED = "answered"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        TIMED_OUT = "timed_out"
        UNREACHABLE = "unreachable"
        INVALID_ANSWER = "invalid_answer"
        BLOCKED = "blocked"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

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
    # The heads of both: header lines, an empty line, and the first bytes of the body. No secret is in them.
    request = models.TextField(blank=True)
    response = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("created_at",), name="attempt_created"),)

    def __str__(self) -> str:
        return f"{self.stream_id} attempt {self.number}: {self.outcome}"
