"""Subscriptions beside agents, streamed answers, a breaker, replays: endpoints and streams grow."""

import django.db.models.deletion
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0002_storage"),
        ("conversations", "0004_handover"),
    ]

    operations = [
        migrations.RenameModel("AgentEndpoint", "Endpoint"),
        migrations.CreateModel(
            name="AgentEndpoint",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("agents.endpoint",),
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("agents.endpoint",),
        ),
        migrations.AddField(
            model_name="attempt",
            name="request",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="attempt",
            name="response",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="blocked",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="cancel_run_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="handed_over",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="park_reason",
            field=models.CharField(
                blank=True, choices=[("exhausted", "Exhausted"), ("operator", "Operator")], max_length=16
            ),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="replay_cursor",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="replay_to",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="run_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="trigger",
            field=models.CharField(
                blank=True, choices=[("all", "All"), ("mention", "Mention"), ("none", "None")], max_length=8
            ),
        ),
        migrations.AddField(
            model_name="deliverystream",
            name="waiting_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="context_tokens",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="conversation_kinds",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="description",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="disabled_reason",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="event",
            field=models.CharField(
                blank=True,
                choices=[
                    ("message.created", "Message Created"),
                    ("broadcast.created", "Broadcast Created"),
                    ("inbox.updated", "Inbox Updated"),
                ],
                max_length=24,
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="failures",
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="header_names",
            field=models.JSONField(default=list, editable=False),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="key_prefix",
            field=models.CharField(blank=True, max_length=257),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="last_error",
            field=models.CharField(blank=True, editable=False, max_length=500),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="last_failure_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="last_success_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="max_in_flight",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="message_kinds",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="opened_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="options",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="participant_id",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="probe_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="probe_pause",
            field=models.FloatField(default=0, editable=False),
        ),
        migrations.AddField("endpoint", "public_id", models.UUIDField(editable=False, null=True)),
        migrations.RunSQL("UPDATE agents_endpoint SET public_id = gen_random_uuid()", migrations.RunSQL.noop),
        migrations.AlterField(
            "endpoint",
            "public_id",
            models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, unique=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="sealed",
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="timeout_seconds",
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="trigger",
            field=models.CharField(
                choices=[("all", "All"), ("mention", "Mention"), ("none", "None")],
                default="all",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="while_running",
            field=models.CharField(
                choices=[("queue", "Queue"), ("interrupt", "Interrupt")], default="queue", max_length=9
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("answered", "Answered"),
                    ("accepted", "Accepted"),
                    ("refused", "Refused"),
                    ("timed_out", "Timed Out"),
                    ("unreachable", "Unreachable"),
                    ("invalid_answer", "Invalid Answer"),
                    ("blocked", "Blocked"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("interrupted", "Interrupted"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="deliverystream",
            name="agent_id",
            field=models.CharField(max_length=128, null=True),
        ),
        migrations.AlterField(
            model_name="endpoint",
            name="agent",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="endpoint",
                to="conversations.participant",
            ),
        ),
        migrations.AlterField(
            model_name="endpoint",
            name="debounce_ms",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="endpoint",
            name="dialect",
            field=models.CharField(
                choices=[("webhook", "Webhook"), ("ag-ui", "AG-UI"), ("openai", "OpenAI")],
                default="webhook",
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="deliverystream",
            index=models.Index(
                condition=models.Q(("blocked", True)), fields=["endpoint", "due_at"], name="stream_blocked"
            ),
        ),
        migrations.AddIndex(
            model_name="deliverystream",
            index=models.Index(
                condition=models.Q(("parked_at__isnull", False)), fields=["endpoint"], name="stream_parked"
            ),
        ),
        migrations.AddIndex(
            model_name="endpoint",
            index=models.Index(
                condition=models.Q(("event", ""), _negated=True),
                fields=["event"],
                name="endpoint_subscriptions",
            ),
        ),
        migrations.AddIndex(
            model_name="endpoint",
            index=models.Index(
                condition=models.Q(("probe_at__isnull", False)), fields=["probe_at"], name="endpoint_probes"
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("agent__isnull", False), ("event", "")),
                    models.Q(("agent__isnull", True), models.Q(("event", ""), _negated=True)),
                    _connector="OR",
                ),
                name="endpoint_of_one_kind",
            ),
        ),
    ]
