import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("serving", "0005_key_limits"),
    ]

    operations = [
        migrations.CreateModel(
            name="SemanticEntry",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=web_kit.ids.new_id, editable=False, max_length=26, primary_key=True, serialize=False
                    ),
                ),
                ("model_identity", models.CharField(max_length=250)),
                ("context_sha256", models.CharField(max_length=64)),
                ("embedder", models.CharField(max_length=120)),
                ("question", models.TextField()),
                ("vector", models.BinaryField()),
                ("answer", models.JSONField()),
                ("request_id", models.CharField(blank=True, max_length=26)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("last_served_at", models.DateTimeField(null=True)),
                ("denied_at", models.DateTimeField(null=True)),
                (
                    "denied_by",
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
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="semantic_entries",
                        to="accounts.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ForgetNotice",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(blank=True, max_length=64)),
                ("request_id", models.CharField(blank=True, max_length=26)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.project"
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["at"], name="forget_notice_at")]},
        ),
        migrations.CreateModel(
            name="SemanticServing",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("request_id", models.CharField(max_length=26, unique=True)),
                ("asked", models.TextField()),
                ("kept_question", models.TextField()),
                ("similarity", models.FloatField()),
                (
                    "verdict",
                    models.CharField(
                        blank=True, choices=[("right", "Same meaning"), ("wrong", "Different meaning")], max_length=5
                    ),
                ),
                ("judged_at", models.DateTimeField(null=True)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "entry",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="servings",
                        to="serving.semanticentry",
                    ),
                ),
                (
                    "judged_by",
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
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="semantic_servings",
                        to="accounts.project",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="semanticentry",
            index=models.Index(fields=["project", "model_identity", "id"], name="semantic_entry_model"),
        ),
        migrations.AddIndex(
            model_name="semanticentry",
            index=models.Index(fields=["expires_at"], name="semantic_entry_expiry"),
        ),
        migrations.AddIndex(
            model_name="semanticserving",
            index=models.Index(fields=["project", "-id"], name="semantic_serving_newest"),
        ),
        migrations.AddIndex(
            model_name="semanticserving",
            index=models.Index(
                fields=["project"], condition=models.Q(("verdict", ""), _negated=True), name="semantic_serving_judged"
            ),
        ),
    ]
