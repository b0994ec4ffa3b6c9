"""The conversation that everyone may read: `broadcast`."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("conversations", "0002_storage")]

    operations = [
        migrations.RunSQL(
            """
            INSERT INTO conversations_conversation
              (key, epoch, kind, state, title, metadata, last_seq, countable, version)
            VALUES ('broadcast', gen_random_uuid(), 'broadcast', 'open', 'Broadcast', '{}', 0, 0, 1)
            ON CONFLICT (key) DO NOTHING
            """,
            migrations.RunSQL.noop,
        ),
    ]
