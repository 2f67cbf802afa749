from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "serving_app"
    label = "serving"
    verbose_name = "Serving"

    def ready(self) -> None:
        """Make this app's kind of job known to the job engine, and say which models are in use and what is kept."""
        from jobs_app import disk_parts, uses
        from serving_app import runner
        from serving_app.operations.exports import forget_exports
        from serving_app.queries import use_of_connection, use_of_model
        from serving_app.queries.exports import exports_part

        runner.register()
        uses.register(use_of_model)
        uses.register_connection(use_of_connection)
        disk_parts.register(disk_parts.DiskSource("exports", exports_part, forget_exports))
