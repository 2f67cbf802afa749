from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "datasets_app"
    label = "datasets"
    verbose_name = "Data"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine."""
        from datasets_app import runner

        runner.register()
