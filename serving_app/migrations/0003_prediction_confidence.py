import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("serving", "0002_deployment_trials"),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="cache_kind",
            field=models.CharField(
                blank=True,
                choices=[("exact", "The same question before"), ("semantic", "A question that means the same")],
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="prediction",
            name="calibrated",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="prediction",
            name="handled_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="prediction",
            name="handled_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="prediction",
            name="is_masked",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="prediction",
            name="needs_human",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="prediction",
            name="question_text",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="prediction",
            name="served_by",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name="prediction",
            name="shadow_of",
            field=models.CharField(blank=True, max_length=26),
        ),
        migrations.AddField(
            model_name="prediction",
            name="task",
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="door",
            field=models.CharField(
                choices=[
                    ("predict", "Program, simple call"),
                    ("chat", "Program, chat"),
                    ("completions", "Program, completion"),
                    ("embeddings", "Program, embedding"),
                    ("playground", "Playground"),
                    ("shadow", "Listening along"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("handled_at", None), ("needs_human", True)),
                fields=["project", "id"],
                name="prediction_waits_for_person",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("shadow_of", ""), _negated=True), fields=["shadow_of"], name="prediction_shadow_of"
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("verdict", ""), _negated=True), fields=["project", "id"], name="prediction_judged"
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("status__gte", 400)), fields=["project", "id"], name="prediction_unanswered"
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("handled_at__isnull", False)),
                fields=["project", "handled_at"],
                name="prediction_handled",
            ),
        ),
    ]
