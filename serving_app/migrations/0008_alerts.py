import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("serving", "0007_calibration"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("error_rate", "Share of failed requests"),
                            ("latency", "Time for 95 of 100 answers"),
                            ("no_replica", "Model servers running"),
                            ("confidence", "Mean confidence"),
                            ("needs_human", "Share of answers for a person"),
                            ("bad_feedback", "Share of bad verdicts"),
                            ("drift", "Questions unlike the training data"),
                            ("tokens", "Tokens per day"),
                        ],
                        max_length=14,
                    ),
                ),
                ("threshold", models.FloatField()),
                ("window_minutes", models.PositiveIntegerField(default=15)),
                ("is_enabled", models.BooleanField(default=True)),
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
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alert_rules", to="accounts.project"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                ("value", models.FloatField(null=True)),
                ("sentence", models.CharField(max_length=300)),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="accounts.project"
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="serving.alertrule"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at", None)), fields=("rule",), name="one_open_alert_per_rule"
                    )
                ],
            },
        ),
    ]
