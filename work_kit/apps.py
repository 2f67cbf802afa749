from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "work_kit"
    label = "work"
    verbose_name = "Jobs in the queue"

    def ready(self) -> None:
        """Connect what a Celery worker does at its start and end."""
        from work_kit import worker  # noqa: F401
        from work_kit.notifications import worker as postman  # noqa: F401
