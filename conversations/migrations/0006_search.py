"""An index by which a participant's conversations are read in their order, in the place of one by which they are found."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0005_growth")]

    operations = [
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["participant", "conversation"], name="membership_of_participant"),
        ),
        migrations.AlterField(
            model_name="membership",
            name="participant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="conversations.participant",
            ),
        ),
    ]
