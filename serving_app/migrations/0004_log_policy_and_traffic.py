import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("serving", "0003_prediction_confidence"),
    ]

    operations = [
        migrations.CreateModel(
            name="LogPolicy",
            fields=[
                (
                    "project",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="log_policy",
                        serialize=False,
                        to="accounts.project",
                    ),
                ),
                ("keep_days", models.PositiveIntegerField(default=90, null=True)),
                ("masks_personal_data", models.BooleanField(default=False)),
                ("keeps_texts", models.BooleanField(default=True)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "updated_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TrafficBucket",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("deployment_ref", models.CharField(blank=True, max_length=26)),
                ("key_ref", models.CharField(blank=True, max_length=26)),
                ("model_name", models.CharField(max_length=250)),
                ("is_shadow", models.BooleanField(default=False)),
                ("start_at", models.DateTimeField()),
                ("requests", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("left", models.PositiveIntegerField(default=0)),
                ("exact_hits", models.PositiveIntegerField(default=0)),
                ("semantic_hits", models.PositiveIntegerField(default=0)),
                ("needs_human", models.PositiveIntegerField(default=0)),
                ("prompt_tokens", models.PositiveBigIntegerField(default=0)),
                ("completion_tokens", models.PositiveBigIntegerField(default=0)),
                ("latency_sum", models.FloatField(default=0.0)),
                ("confidence_sum", models.FloatField(default=0.0)),
                ("latency", models.JSONField(default=list)),
                ("first_token", models.JSONField(default=list)),
                ("confidence", models.JSONField(default=list)),
                ("question_length", models.JSONField(default=list)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="traffic_buckets",
                        to="accounts.project",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "start_at", "deployment_ref", "key_ref", "model_name", "is_shadow"),
                        name="one_bucket_per_five_minutes",
                    )
                ],
            },
        ),
    ]
