"""Room in the pages of the rows that every append changes, so that Postgres updates them in place."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE conversations_conversation SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)",
            "ALTER TABLE conversations_conversation RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
