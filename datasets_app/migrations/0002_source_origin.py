from django.db import migrations, models


class Migration(migrations.Migration):
    """Where the rows of a file came from that people proposed; empty for the files of old."""

    dependencies = [
        ("datasets", "0001_data"),
    ]

    operations = [
        migrations.AddField(
            model_name="source",
            name="origin",
            field=models.JSONField(default=dict),
        ),
    ]
