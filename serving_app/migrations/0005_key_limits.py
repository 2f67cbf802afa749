import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("serving", "0004_log_policy_and_traffic"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyLimit",
            fields=[
                (
                    "api_key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="limit",
                        serialize=False,
                        to="accounts.apikey",
                    ),
                ),
                ("requests_per_minute", models.PositiveIntegerField(null=True)),
                ("tokens_per_minute", models.PositiveIntegerField(null=True)),
                ("tokens_per_month", models.PositiveBigIntegerField(null=True)),
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
            name="RateWindow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("scope", models.CharField(max_length=80)),
                ("start_at", models.DateTimeField()),
                ("taken", models.BigIntegerField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["start_at"], name="rate_window_start")],
                "constraints": [models.UniqueConstraint(fields=("scope", "start_at"), name="one_row_per_window")],
            },
        ),
    ]
