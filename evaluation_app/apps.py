from django.apps import AppConfig


class EvaluationConfig(AppConfig):
    name = "evaluation_app"
    label = "evaluation"
    verbose_name = "Evaluation"

    def ready(self) -> None:
        """Make this app's kinds of job known to the job engine, and say which models are being judged and what is kept."""
        from evaluation_app import runner
        from evaluation_app.operations.answer_store import forget_answers
        from evaluation_app.queries.answer_store import answers_part
        from evaluation_app.queries.lists import use_of_connection, use_of_model
        from evaluation_app.queries.spent import spent_on_evaluations
        from jobs_app import disk_parts, other_spending, uses

        runner.register()
        disk_parts.register(disk_parts.DiskSource("answers", answers_part, forget_answers))
        uses.register(use_of_model)
        uses.register_connection(use_of_connection)
        other_spending.register(spent_on_evaluations)
