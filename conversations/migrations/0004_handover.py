"""Who has taken over from the agents of a conversation."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0003_broadcast"),
    ]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="handed_to",
            field=models.CharField(blank=True, max_length=128),
        ),
    ]
