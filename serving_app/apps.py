from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "serving_app"
    label = "serving"
    verbose_name = "Serving"

    def ready(self) -> None:
        """Say which models are in use, so that none of them is deleted."""
        from jobs_app import uses
        from serving_app.queries import use_of_model

        uses.register(use_of_model)
