"""Complaints about a version in use: fixtures, and what became of them."""

# ruff: noqa: F811
from __future__ import annotations

import pytest
from django.utils import timezone

from tests.datasets_app.conftest import clauses, dataset_from, freeze, quick_jobs, upload_of  # noqa: F401  # fixtures

QUESTION = "The tenant may end the lease on the last day of each quarter with notice in writing of six weeks."


@pytest.fixture
def version(trained, project):
    """``version("V2", snapshot)``: a trained model's row that learned from this snapshot."""
    from jobs_app.models import TrainingJob

    def make(name, snapshot):
        model = trained(name)
        TrainingJob.objects.filter(pk=model.training_job_id).update(snapshot=snapshot, dataset=snapshot.dataset)
        model.refresh_from_db()
        return model

    return make


@pytest.fixture
def first(clauses, freeze, version):
    """The version that made the mistakes."""
    return version("V1", freeze(clauses))


@pytest.fixture
def in_use(actor, first):
    from serving_app.operations import deploy_model

    return deploy_model(actor=actor, trained_model=first, sign_off="Tried by hand; good enough.")


@pytest.fixture
def complaint(actor, project, in_use):
    """``complaint(question, correction)``: feedback on an answer of the version in use."""
    from serving_app.models import Prediction
    from serving_app.operations import give_feedback
    from web_kit.ids import new_id

    def make(question=QUESTION, correction="Termination", verdict="bad", **said):
        prediction = Prediction.objects.create(
            request_id=new_id(), project=project, deployment=in_use, door="chat", model_name=in_use.model_name,
            input={"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]},
            output="Payment", latency_seconds=0.1, at=timezone.now(),
        )  # fmt: skip
        return give_feedback(actor=actor, prediction=prediction, verdict=verdict, correction=correction, **said)

    return make


@pytest.fixture
def judged(project, actor):
    """``judged(model, snapshot, asked=[cases], failed=[cases])``: an evaluation that asked these cases."""
    from evaluation_app.models import Evaluation
    from work_kit.models import Job

    def make(model, snapshot, asked=(), failed=(), samples_name=""):
        work = Job.objects.create(
            project=project, kind="evaluation.run", queue="gpu", title="x", state="succeeded",
            available_at=timezone.now(),
        )  # fmt: skip
        wrong = [{"id": case.pk, "answer": "Payment", "why": "another answer"} for case in failed]
        told = {
            "n": len(asked),
            "passed": len(asked) - len(wrong),
            "asked": [case.pk for case in asked],
            "failed": wrong,
        }
        return Evaluation.objects.create(
            id=work.pk, project=project, trained_model=model, snapshot=snapshot, work=work,
            report={"regressions": told}, samples_name=samples_name,
        )  # fmt: skip

    return make


def stage_of(feedback) -> str:
    return line_of(feedback).stage


def line_of(feedback):
    from serving_app.queries.improvement import improvement

    return next(line for line in improvement(feedback.project).lines if line.feedback.pk == feedback.pk)


def decide_last(actor, dataset, action) -> None:
    from datasets_app.models import Dataset, Example
    from datasets_app.operations import decide_example

    dataset = Dataset.objects.get(pk=dataset.pk)
    row = Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt).order_by("-row")[0]
    decide_example(actor=actor, dataset=dataset, example=row, action=action)


def accept_waiting(actor, dataset) -> None:
    from datasets_app.models import Dataset, Example
    from datasets_app.operations import decide_example

    dataset = Dataset.objects.get(pk=dataset.pk)
    rows = Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt, status="needs_review")
    decide_example(actor=actor, dataset=dataset, example=rows.order_by("-row")[0], action="accept")
