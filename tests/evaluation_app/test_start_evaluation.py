"""Starting an evaluation: what is accepted, what is refused and why."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from accounts_app.models import Project
from accounts_app.permissions import project_for
from evaluation_app.models import Evaluation
from evaluation_app.operations import start_evaluation
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db


def test_it_waits_in_the_queue_of_the_training_machines(evaluation, snapshot) -> None:
    assert (evaluation.work.state, evaluation.work.queue, evaluation.work.kind) == ("queued", "gpu", "evaluation.run")
    assert (evaluation.snapshot, evaluation.split, evaluation.suites) == (snapshot, "test", ["quality"])


def test_the_same_idempotency_key_starts_it_once(actor, trained_model) -> None:
    first, second = (
        start_evaluation(actor=actor, trained_model=trained_model, idempotency_key="once", limit=n) for n in (5, 6)
    )
    assert first == second
    assert Evaluation.objects.get().case_limit == 5


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"split": "train"}, "unknown_split"),
        ({"split": "validation"}, "empty_split"),
        ({"limit": 0}, "bad_limit"),
        ({"suites": ["quality", "beauty"]}, "unknown_suite"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_nothing_is_queued(actor, trained_model, wish, code) -> None:
    with pytest.raises(UserError) as error:
        start_evaluation(actor=actor, trained_model=trained_model, **wish)
    assert error.value.code == code
    assert not Evaluation.objects.exists()


def test_a_model_without_its_snapshot_asks_for_one(actor, trained_model, snapshot) -> None:
    training = trained_model.training_job
    training.snapshot = None
    training.save()
    with pytest.raises(UserError, match="Choose a snapshot"):
        start_evaluation(actor=actor, trained_model=trained_model)
    assert start_evaluation(actor=actor, trained_model=trained_model, snapshot=snapshot).snapshot == snapshot


def test_a_reviewer_may_not_start_one(reviewer, project, trained_model) -> None:
    with pytest.raises(PermissionDenied):
        start_evaluation(actor=project_for(reviewer, project.slug, "view"), trained_model=trained_model)


def test_another_projects_model_is_not_found(outsider, trained_model) -> None:
    theirs = Project.objects.get(memberships__user=outsider)
    with pytest.raises(UserError) as error:
        start_evaluation(actor=project_for(outsider, theirs.slug, "view"), trained_model=trained_model)
    assert error.value.status == 404


def test_the_api_starts_lists_and_shows_it(client, api_key, trained_model, snapshot) -> None:
    headers = {"Authorization": f"Bearer {api_key('train')}", "Idempotency-Key": "k"}

    def post(body):
        return client.post("/api/v1/evaluations", body, content_type="application/json", headers=headers)

    made = post({"models": [trained_model.api_name], "snapshot": snapshot.pk, "limit": 10})
    assert made.status_code == 202
    assert post({"models": [trained_model.api_name]}).json()["id"] == made.json()["id"]
    listed = client.get("/api/v1/evaluations", headers=headers).json()
    assert [entry["id"] for entry in listed["data"]] == [made.json()["id"]]
    assert listed["next_cursor"] is None
    one = client.get(f"/api/v1/evaluations/{made.json()['id']}", headers=headers).json()
    assert (one["status"], one["report"], one["limit"]) == ("queued", None, 10)
    assert client.get(f"/api/v1/evaluations/{one['id']}/report.json", headers=headers).status_code == 409
    assert post({"models": []}).json()["error"]["param"] == "models"
    assert post({"models": ["nonsense"]}).status_code == 404
    assert post({"models": [trained_model.pk], "snapshot": "0" * 26}).status_code == 404


@pytest.mark.parametrize("limit", [-1, 10**12])
def test_a_limit_that_no_column_holds_is_refused(actor, trained_model, limit) -> None:
    with pytest.raises(UserError) as error:
        start_evaluation(actor=actor, trained_model=trained_model, limit=limit)
    assert error.value.code == "bad_limit"


def test_data_that_was_deleted_is_refused_before_anything_waits(actor, trained_model, snapshot) -> None:
    snapshot.state = "deleted"
    snapshot.save()
    with pytest.raises(UserError) as error:
        start_evaluation(actor=actor, trained_model=trained_model)
    assert (error.value.code, error.value.field) == ("snapshot_not_ready", "snapshot")
    assert not Evaluation.objects.exists()


def test_a_very_long_idempotency_key_still_starts_it_once(actor, trained_model) -> None:
    first, second = (
        start_evaluation(actor=actor, trained_model=trained_model, idempotency_key="k" * 500) for _ in range(2)
    )
    assert first == second
