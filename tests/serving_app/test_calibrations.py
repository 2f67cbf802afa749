"""Learning from an evaluation what a model's confidence is worth."""

from __future__ import annotations

import pytest

from accounts_app.models import AuditEntry
from finetune_engine.errors import UserError
from serving_app.models import Calibration
from serving_app.operations.calibrations import calibrate_finished, calibrate_model, set_human_threshold
from serving_app.queries.calibrations import answers_per_day, confidence_view, newest_curve
from tests.serving_app.judged import deployed, judged_evaluation

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(trained):
    return trained("Clauses")


@pytest.fixture
def evaluation(model):
    return judged_evaluation(model)


def test_an_evaluation_becomes_a_curve_that_was_measured_on_other_rows(actor, model, evaluation):
    made = calibrate_model(actor=actor, evaluation=evaluation)
    assert made.report["after"]["ece_10_bin"] < made.report["before"]["ece_10_bin"]
    assert made.report["rows"] == 1_200
    assert newest_curve(model.pk).x == tuple(made.curve["x"])
    assert AuditEntry.objects.filter(act="model.calibrate").count() == 1


def test_the_newest_calibration_counts(actor, model, evaluation):
    calibrate_model(actor=actor, evaluation=evaluation)
    second = calibrate_model(actor=actor, evaluation=judged_evaluation(model, n=400, seed=9))
    assert newest_curve(model.pk).y == tuple(second.curve["y"])


def test_a_model_without_calibration_has_no_curve(model):
    assert newest_curve(model.pk) is None
    assert newest_curve(None) is None


def test_an_evaluation_that_kept_no_confidence_says_to_run_it_again(actor, model):
    with pytest.raises(UserError, match="Run it again") as caught:
        calibrate_model(actor=actor, evaluation=judged_evaluation(model, with_confidence=False))
    assert caught.value.code == "no_confidence"


def test_too_few_answers_are_refused(actor, model):
    with pytest.raises(UserError, match="300 are needed"):
        calibrate_model(actor=actor, evaluation=judged_evaluation(model, n=120))
    assert not Calibration.objects.exists()


def test_another_projects_evaluation_is_not_there(actor, outsider, trained):
    from accounts_app.models import Membership

    elsewhere = Membership.objects.get(user=outsider).project
    with pytest.raises(UserError) as caught:
        calibrate_model(actor=actor, evaluation=judged_evaluation(trained("Theirs", of=elsewhere)))
    assert caught.value.code == "not_found"


def test_an_evaluation_that_ended_is_learnt_from_by_itself_and_only_once(model, evaluation):
    assert calibrate_finished() == 1
    assert calibrate_finished() == 0
    assert Calibration.objects.get().evaluation == evaluation
    assert newest_curve(model.pk) is not None


def test_what_cannot_be_learnt_from_is_looked_at_once_and_hides_no_older_curve(actor, model, evaluation):
    older = calibrate_model(actor=actor, evaluation=evaluation)
    judged_evaluation(model, with_confidence=False)
    assert calibrate_finished() == 1
    assert calibrate_finished() == 0
    assert newest_curve(model.pk).y == tuple(older.curve["y"])
    assert "Run it again" in confidence_view(deployed(model)).refused


def test_a_file_of_answers_that_nobody_can_read_keeps_no_other_waiting(model, evaluation):
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    broken = judged_evaluation(model, seed=4)
    broken.samples_name = default_storage.save(
        f"evaluations/{broken.pk}/2/samples.parquet", ContentFile(b"half a file")
    )
    broken.save()
    assert calibrate_finished() == 2
    assert Calibration.objects.get(evaluation=broken).report["refused"] == "unreadable"
    assert newest_curve(model.pk) is not None


def test_beat_learns_from_what_ended():
    from finetune_site.celery import app

    entries = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert entries["serving_app.tasks.calibrate_finished"] == 300.0


def test_the_task_learns(model, evaluation):
    from serving_app.tasks import calibrate_finished as task

    task()
    assert newest_curve(model.pk) is not None


def test_small_and_unfinished_evaluations_are_left_alone(model):
    judged_evaluation(model, n=120)
    running = judged_evaluation(model)
    type(running.work).objects.filter(pk=running.work.pk).update(state="running")
    assert calibrate_finished() == 0


def test_a_threshold_is_set_and_noted(actor, model):
    deployment = set_human_threshold(actor=actor, deployment=deployed(model), ask_human_below=0.8)
    assert deployment.ask_human_below == 0.8
    noted = AuditEntry.objects.get(act="deployment.set_human_threshold").data
    assert (noted["ask_human_below"], noted["before"]) == (0.8, None)


@pytest.mark.parametrize("below", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_share(actor, model, below):
    with pytest.raises(UserError, match="between 0 and 1"):
        set_human_threshold(actor=actor, deployment=deployed(model), ask_human_below=below)


def test_a_retired_deployment_takes_no_threshold(actor, model):
    with pytest.raises(UserError, match="not in use"):
        set_human_threshold(actor=actor, deployment=deployed(model, state="retired"), ask_human_below=0.5)


def test_answers_a_day_come_from_the_traffic_of_the_last_week(project, model):
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import TrafficBucket

    now = timezone.now()
    deployment = deployed(model, activated_at=now - timedelta(days=4))
    assert answers_per_day(deployment) is None
    for days, requests in ((1, 300), (3, 130), (9, 10_000)):
        TrafficBucket.objects.create(
            project=project, deployment_ref=deployment.pk, model_name="x", start_at=now - timedelta(days=days),
            requests=requests, refused=10, failed=5, left=5,
        )  # fmt: skip
    assert answers_per_day(deployment) == pytest.approx(390 / 4, rel=1e-3)
