"""Room in the pages of delivery streams, which every append and every call changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE agents_deliverystream SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)",
            "ALTER TABLE agents_deliverystream RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
