"""Addresses of the OpenAI-compatible face."""

from __future__ import annotations

from django.urls import URLPattern, path

from jobs_app.openai_api import jobs, models, not_offered

urlpatterns: list[URLPattern] = [
    path("fine_tuning/jobs", jobs.collection),
    path("fine_tuning/jobs/<str:job_id>", jobs.one),
    path("fine_tuning/jobs/<str:job_id>/cancel", jobs.cancel),
    path("fine_tuning/jobs/<str:job_id>/pause", jobs.pause),
    path("fine_tuning/jobs/<str:job_id>/resume", jobs.resume),
    path("fine_tuning/jobs/<str:job_id>/events", jobs.events),
    path("fine_tuning/jobs/<str:job_id>/checkpoints", jobs.checkpoint_list),
    path("fine_tuning/checkpoints/<path:checkpoint>/permissions", not_offered.checkpoint_permissions),
    path(
        "fine_tuning/checkpoints/<path:checkpoint>/permissions/<str:permission_id>", not_offered.checkpoint_permissions
    ),
    path("fine_tuning/alpha/graders/<str:act>", not_offered.graders),
    path("models", models.collection),
    path("models/<path:model_name>", models.one),
]
