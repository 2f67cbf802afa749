"""Pages about training, under a project."""

from __future__ import annotations

from django.urls import path

from jobs_app.views import acts, detail, listing, models, new

app_name = "jobs"
urlpatterns = [
    path("", listing.listing, name="list"),
    path("new", new.new, name="new"),
    path("models/<str:model_id>", models.detail, name="model"),
    path("models/<str:model_id>/download", models.download, name="download"),
    path("models/<str:model_id>/delete", models.delete, name="delete_model"),
    path("<str:job_id>", detail.detail, name="detail"),
    path("<str:job_id>/events", detail.events, name="events"),
    path("<str:job_id>/stop", acts.stop, name="stop"),
    path("<str:job_id>/resume", acts.resume, name="resume"),
    path("<str:job_id>/retry", acts.retry, name="retry"),
]
