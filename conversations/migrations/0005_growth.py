"""What a table of millions needs of its vacuum, and one index less for each membership."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0004_handover")]

    operations = [
        # `membership_once` begins with the conversation: its index finds what this one found.
        migrations.AlterField(
            model_name="membership",
            name="conversation",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="conversations.conversation",
            ),
        ),
        # A log is only ever added to. By default Postgres vacuums it after a fifth more rows: two million at once in a table of
        # ten million, of which every page has long been written and is read and written once more. After every 100,000 rows
        # it is the same small work at any size, on pages that are still in memory.
        migrations.RunSQL(
            "ALTER TABLE conversations_message SET (autovacuum_vacuum_insert_scale_factor = 0, "
            "autovacuum_vacuum_insert_threshold = 100000)",
            "ALTER TABLE conversations_message RESET (autovacuum_vacuum_insert_scale_factor, "
            "autovacuum_vacuum_insert_threshold)",
        ),
        # What an append changes in a conversation is in no WHERE: the statistics that plans are made of stay what they were.
        # By default a busy table is analyzed anew every minute.
        migrations.RunSQL(
            "ALTER TABLE conversations_conversation SET (autovacuum_analyze_scale_factor = 0.5)",
            "ALTER TABLE conversations_conversation RESET (autovacuum_analyze_scale_factor)",
        ),
    ]
