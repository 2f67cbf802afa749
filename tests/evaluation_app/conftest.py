"""A trained model with a frozen snapshot (made-up files), and the report of an evaluation."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone


@pytest.fixture
def snapshot(project, owner):
    from datasets_app.models import Dataset, Snapshot, Upload

    upload = Upload.objects.create(
        project=project, name="clauses.jsonl", size=10, sha256="0" * 64, storage_name="uploads/none", created_by=owner
    )
    dataset = Dataset.objects.create(project=project, upload=upload, name="Contract clauses", state="ready")
    return Snapshot.objects.create(
        project=project,
        dataset=dataset,
        number=1,
        state="ready",
        task_type="classification",
        sha256="1" * 64,
        counts={"train": 80, "validation": 0, "test": 40},
        storage_prefix="snapshots/none",
    )


@pytest.fixture
def trained_model(project, snapshot):
    from jobs_app.models import TrainedModel, TrainingJob
    from work_kit.models import Job

    work = Job.objects.create(
        project=project, kind="jobs.train", queue="gpu", title="x", state="succeeded", available_at=timezone.now()
    )
    training = TrainingJob.objects.create(
        id=work.pk, project=project, work=work, name="Clauses", base_model_key="demo-base", snapshot=snapshot
    )
    return TrainedModel.objects.create(
        project=project,
        training_job=training,
        name="Clauses",
        base_model_key="demo-base",
        api_name=f"ft:demo-base:{project.slug}:x:{work.pk}",
        storage_prefix=f"models/{work.pk}",
        manifest_sha256="ab" * 32,
        size_bytes=1,
    )


def score(metric: str, value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> dict:
    return {
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": 40,
        "higher_is_better": metric != "perplexity",
        "signature": "x",
    } | more


@pytest.fixture
def report() -> dict[str, Any]:
    """What the engine writes: 40 cases, two labels."""
    confusion = {"labels": ["Payment", "Term <b>"], "matrix": [[18, 2], [5, 15]]}
    gain = {"metric": "accuracy", "base": 0.5, "tuned": 0.825, "difference": 0.325, "ci_low": 0.15, "ci_high": 0.5}
    gain |= {
        "p_value": 0.0004,
        "p_holm": 0.0004,
        "test": "exact McNemar",
        "n": 40,
        "better": 14,
        "worse": 1,
        "against": "base",
    }
    case = {
        "row": 7,
        "prompt": "<script>alert(1)</script>",
        "reference": "Payment",
        "base_answer": "",
        "tuned_answer": "Payment",
    }
    per_class = [
        {"label": "Payment", "precision": 0.78, "recall": 0.9, "f1": 0.84, "support": 20},
        {"label": "Term <b>", "precision": 0.88, "recall": 0.75, "f1": 0.81, "support": 20},
    ]
    return {
        "task_type": "classification",
        "split": "test",
        "n": 40,
        "models": [
            {"key": "base", "name": "demo-base", "scores": [score("accuracy", 0.5, 0.35, 0.65), score("perplexity", 90.0)],
             "per_class": [], "confusion": None},
            {"key": "tuned", "name": "Clauses", "scores": [score("accuracy", 0.825, 0.68, 0.91), score("perplexity", 3.2)],
             "per_class": per_class, "confusion": confusion},
        ],
        "baselines": [{"key": "tfidf", "name": "keywords", "scores": [score("accuracy", 0.6, 0.44, 0.74)]}],
        "headline": "accuracy",
        "comparison": gain,
        "comparisons": [gain],
        "verdict": {"kind": "ship", "sentence": "Ship: it answers 33 of 40 cases correctly."},
        "improved": [case],
        "worsened": [],
        "worst": [],
        "run": {"versions": {"torch": "2.13"}, "seed": 42},
    }  # fmt: skip


@pytest.fixture
def evaluation(actor, trained_model):
    from evaluation_app.operations import start_evaluation

    return start_evaluation(actor=actor, trained_model=trained_model)


@pytest.fixture
def done(evaluation, report):
    """The evaluation, finished with that report."""
    from evaluation_app.operations import keep_report
    from work_kit.models import Job

    keep_report(evaluation_id=evaluation.pk, report=report, samples_name="")
    Job.objects.filter(pk=evaluation.pk).update(state="succeeded", phase="done")
    evaluation.refresh_from_db()
    evaluation.work.refresh_from_db()
    return evaluation


@pytest.fixture
def connection(project, owner):
    """The project's key at a server elsewhere. Nothing is asked of it here."""
    from jobs_app.models import ProviderConnection
    from web_kit import secrets

    return ProviderConnection.objects.create(
        project=project,
        name="Elsewhere",
        base_url="https://models.example.com/v1",
        secret=secrets.encrypt("sk-elsewhere-key-0123456789"),
        last_four="6789",
        created_by=owner,
    )


@pytest.fixture
def priced(db):
    """A dear model at that server, as the operator entered it with its price."""
    from jobs_app.models import BaseModel

    price = {"currency": "USD", "input_per_million": "900.00", "output_per_million": "900.00", "date": "2026-11-01"}
    return BaseModel.objects.create(
        key="their-base",
        name="Their base",
        provider="endpoint",
        location="their-model",
        base_url="https://models.example.com/v1",
        facts={"price": price | {"url": "https://models.example.com/prices"}},
    )
