from django.apps import AppConfig


class EvaluationConfig(AppConfig):
    name = "evaluation_app"
    label = "evaluation"
    verbose_name = "Evaluation"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine."""
        from evaluation_app import runner

        runner.register()
