from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs_app"
    label = "jobs"
    verbose_name = "Training"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine, and its tokenizers to the data pages."""
        from datasets_app import tokenizers
        from jobs_app import probe, runner
        from jobs_app.queries.base_models import local_tokenizers

        runner.register()
        probe.register()
        tokenizers.register(local_tokenizers)
