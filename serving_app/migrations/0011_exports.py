import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import web_kit.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people"),
        ("accounts", "__first__"),
        ("jobs", "0002_growth"),
        ("serving", "0010_feedback"),
        ("work", "0002_growth"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelExport",
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
                            ("merged", "Merged model (safetensors)"),
                            ("adapter", "Adapter only (PEFT)"),
                            ("gguf", "GGUF (llama.cpp, Ollama)"),
                        ],
                        max_length=8,
                    ),
                ),
                ("storage_name", models.CharField(blank=True, max_length=300)),
                ("size_bytes", models.BigIntegerField(null=True)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("checks", models.JSONField(default=dict)),
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
                    "created_by_key",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="accounts.apikey"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_exports", to="accounts.project"
                    ),
                ),
                (
                    "trained_model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="exports", to="jobs.trainedmodel"
                    ),
                ),
                (
                    "work",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_export", to="work.job"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "-id"], name="export_newest")],
            },
        ),
    ]
