from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs_app"
    label = "jobs"
    verbose_name = "Training"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine."""
        from jobs_app import runner

        runner.register()
