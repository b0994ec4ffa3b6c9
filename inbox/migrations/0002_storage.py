"""Room in the pages of read cursors, which every send moves."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("inbox", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE inbox_readcursor SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
            "ALTER TABLE inbox_readcursor RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
