"""Fine-tuning jobs and models as OpenAI's API has them. The site mounts ``urlpatterns`` at the root."""

from jobs_app.openai_api.urls import urlpatterns

__all__ = ["urlpatterns"]
