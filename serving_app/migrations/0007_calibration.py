import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("evaluation", "0002_judgement"),
        ("jobs", "0002_growth"),
        ("serving", "0006_semantic_cache"),
    ]

    operations = [
        migrations.CreateModel(
            name="Calibration",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                ("curve", models.JSONField()),
                ("report", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "evaluation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="calibrations",
                        to="evaluation.evaluation",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="calibrations", to="accounts.project"
                    ),
                ),
                (
                    "trained_model",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="calibrations",
                        to="jobs.trainedmodel",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["trained_model", "-id"], name="calibration_newest")],
            },
        ),
    ]
