import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("datasets", "0002_source_origin"),
        ("evaluation", "0002_judgement"),
        ("serving", "0009_drift"),
    ]

    operations = [
        migrations.CreateModel(
            name="Feedback",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                ("request_id", models.CharField(max_length=26, unique=True)),
                ("model_name", models.CharField(max_length=250)),
                ("messages", models.JSONField(default=list)),
                ("answer", models.TextField(blank=True)),
                ("verdict", models.CharField(choices=[("good", "Good"), ("bad", "Bad")], max_length=4)),
                ("reasons", models.JSONField(default=list)),
                ("comment", models.CharField(blank=True, max_length=1000)),
                ("correction", models.TextField(blank=True)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("source_number", models.PositiveIntegerField(null=True)),
                ("proposed_at", models.DateTimeField(null=True)),
                ("dismissed_at", models.DateTimeField(null=True)),
                (
                    "by_key",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="accounts.apikey"
                    ),
                ),
                (
                    "by_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="feedback",
                        to="datasets.dataset",
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="feedback",
                        to="serving.deployment",
                    ),
                ),
                (
                    "prediction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="feedback",
                        to="serving.prediction",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="feedback", to="accounts.project"
                    ),
                ),
                (
                    "regression_case",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="feedback",
                        to="evaluation.regressioncase",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "-id"], name="feedback_newest"),
                    models.Index(fields=["project", "at"], name="feedback_project_at"),
                ],
            },
        ),
    ]
