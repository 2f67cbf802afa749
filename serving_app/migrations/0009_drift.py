import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("serving", "0008_alerts"),
    ]

    operations = [
        migrations.CreateModel(
            name="DriftReport",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                ("questions", models.PositiveIntegerField()),
                ("since", models.DateTimeField()),
                ("baseline", models.JSONField(default=dict)),
                ("profile", models.JSONField(default=dict)),
                ("findings", models.JSONField(default=list)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="drift_reports",
                        to="serving.deployment",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="drift_reports", to="accounts.project"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["deployment", "-id"], name="drift_newest")],
            },
        ),
    ]
