"""Read cursors move with every send, but what plans are made of (who, and in which conversation) does not change with that."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("inbox", "0002_storage")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE inbox_readcursor SET (autovacuum_analyze_scale_factor = 0.5)",
            "ALTER TABLE inbox_readcursor RESET (autovacuum_analyze_scale_factor)",
        ),
    ]
