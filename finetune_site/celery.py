"""The Celery application. Delivery only: the database is the truth about every job."""

from __future__ import annotations

import os
import warnings

from celery import Celery
from celery.platforms import SecurityWarning

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")

# Containers run as a user of their own, and the owner of a laptop knows who they are.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("tunesmith")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
_lease_seconds = float(os.environ.get("LEASE_SECONDS") or 30)  # the settings cannot be read this early
app.conf.beat_schedule = {
    "look-after-jobs": {
        "task": "work_kit.tasks.look_after_jobs",
        "schedule": min(5.0, _lease_seconds / 6),
        "options": {"queue": "cpu", "expires": _lease_seconds},
    },
    "look-after-deployments": {
        "task": "serving_app.tasks.look_after_deployments",
        "schedule": 5.0,
        "options": {"queue": "cpu", "expires": 30},
    },
    "check-alerts": {
        "task": "serving_app.tasks.check_alerts",
        "schedule": 60.0,
        "options": {"queue": "cpu", "expires": 60},
    },
    "prune-log": {
        "task": "serving_app.tasks.prune_log",
        "schedule": 600.0,
        "options": {"queue": "cpu", "expires": 600},
    },
    "look-for-drift": {
        "task": "serving_app.tasks.look_for_drift",
        "schedule": 900.0,
        "options": {"queue": "cpu", "expires": 900},
    },
    "calibrate-finished": {
        "task": "serving_app.tasks.calibrate_finished",
        "schedule": 300.0,
        "options": {"queue": "cpu", "expires": 300},
    },
    "keep-house": {"task": "jobs_app.tasks.keep_house", "schedule": 86_400.0, "options": {"queue": "cpu"}},
    "tidy-data": {"task": "datasets_app.tasks.tidy_data", "schedule": 60.0, "options": {"queue": "cpu"}},
}
app.conf.task_default_queue = "cpu"
