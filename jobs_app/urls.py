"""Pages about training, under a project."""

from __future__ import annotations

from django.urls import path

from jobs_app.views import acts, advice, choose, connections, detail, housekeeping, listing, models, new

app_name = "jobs"
urlpatterns = [
    path("", listing.listing, name="list"),
    path("advice", advice.advice, name="advice"),
    path("choose", choose.choose, name="choose"),
    path("new", new.new, name="new"),
    path("new/estimate", new.estimate, name="estimate"),
    path("new/probe", new.probe, name="probe"),
    path("housekeeping", housekeeping.housekeeping, name="housekeeping"),
    path("housekeeping/clean", housekeeping.clean, name="clean"),
    path("providers", connections.listing, name="connections"),
    path("providers/budget", connections.budget, name="budget"),
    path("providers/<str:connection_id>", connections.change, name="connection"),
    path("providers/<str:connection_id>/check", connections.check, name="check_connection"),
    path("providers/<str:connection_id>/delete", connections.delete, name="delete_connection"),
    path("models/<str:model_id>", models.detail, name="model"),
    path("models/<str:model_id>/download", models.download, name="download"),
    path("models/<str:model_id>/tensorboard", models.tensorboard, name="tensorboard"),
    path("models/<str:model_id>/delete", models.delete, name="delete_model"),
    path("<str:job_id>", detail.detail, name="detail"),
    path("<str:job_id>/metrics.csv", detail.metrics_csv, name="metrics_csv"),
    path("<str:job_id>/states/<int:step>/use", acts.use_state, name="use_state"),
    path("<str:job_id>/events", detail.events, name="events"),
    path("<str:job_id>/stop", acts.stop, name="stop"),
    path("<str:job_id>/resume", acts.resume, name="resume"),
    path("<str:job_id>/retry", acts.retry, name="retry"),
]
