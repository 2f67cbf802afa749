from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_growth"),
        ("serving", "0001_serving"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="deployment",
            name="one_active_deployment_per_alias",
        ),
        migrations.AddField(
            model_name="deployment",
            name="activated_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="ask_human_below",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="backend",
            field=models.CharField(
                choices=[
                    ("auto", "Whatever the model server has"),
                    ("transformers", "transformers, in the model server"),
                    ("vllm", "vLLM, beside the model server"),
                    ("endpoint", "A server that speaks OpenAI's protocol"),
                ],
                default="auto",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="default_temperature",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="problem",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name="deployment",
            name="progress",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="deployment",
            name="role",
            field=models.CharField(
                choices=[("main", "Answers"), ("shadow", "Listens along"), ("split", "Answers a share")],
                default="main",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="semantic_threshold",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="share_percent",
            field=models.PositiveSmallIntegerField(default=100),
        ),
        migrations.AddField(
            model_name="deployment",
            name="uses_exact_cache",
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="uses_semantic_cache",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="replica",
            name="backends",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="replica",
            name="device",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name="replica",
            name="in_flight",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="replica",
            name="memory_bytes",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="replica",
            name="state",
            field=models.CharField(
                choices=[("ready", "Ready"), ("draining", "Finishing")], default="ready", max_length=8
            ),
        ),
        migrations.AlterField(
            model_name="deployment",
            name="state",
            field=models.CharField(
                choices=[
                    ("preparing", "Getting ready"),
                    ("active", "In use"),
                    ("failed", "Could not be loaded"),
                    ("retired", "Retired"),
                ],
                default="active",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("role", "main"), ("state", "active")),
                fields=("project", "alias"),
                name="one_active_main_per_alias",
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "active"), models.Q(("role", "main"), _negated=True)),
                fields=("project", "alias"),
                name="one_active_trial_per_alias",
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "preparing")),
                fields=("project", "alias", "role"),
                name="one_preparing_per_role",
            ),
        ),
    ]
