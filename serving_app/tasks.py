"""Celery's side: a bell and a caretaker. What there is to do stands in the database."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="serving_app.tasks.prepare_deployments")
def prepare_deployments() -> None:
    """Bring the deployments that are on their way into use."""
    from serving_app.rollout import prepare_waiting

    prepare_waiting()


@shared_task(name="serving_app.tasks.look_after_deployments")
def look_after_deployments() -> None:
    """Ring again for deployments that nobody looks after, and drop model servers that have long been silent."""
    from serving_app.operations import forget_lost_replicas, forget_windows
    from serving_app.rollout import look_after

    look_after()
    forget_lost_replicas()
    forget_windows()


@shared_task(name="serving_app.tasks.check_alerts")
def check_alerts() -> None:
    """Open and close alerts."""
    from serving_app.operations import check_alerts as check

    check()


@shared_task(name="serving_app.tasks.prune_log")
def prune_log() -> None:
    """Delete what the prediction log and the caches keep no longer."""
    from serving_app.operations import prune_log as prune
    from serving_app.operations.caches import sweep_up

    prune()
    sweep_up()


@shared_task(name="serving_app.tasks.look_for_drift")
def look_for_drift() -> None:
    """Compare what is asked with what was taught."""
    from serving_app.operations import look_for_drift as look

    look()


@shared_task(name="serving_app.tasks.calibrate_finished")
def calibrate_finished() -> None:
    """Learn from the evaluations that ended lately what their models' confidence is worth."""
    from serving_app.operations.calibrations import calibrate_finished as calibrate

    calibrate()
