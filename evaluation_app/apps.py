from django.apps import AppConfig


class EvaluationConfig(AppConfig):
    name = "evaluation_app"
    label = "evaluation"
    verbose_name = "Evaluation"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine, and say which models are being judged."""
        from evaluation_app import runner
        from evaluation_app.queries.lists import use_of_model
        from jobs_app import uses

        runner.register()
        uses.register(use_of_model)
