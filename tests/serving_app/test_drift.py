"""Drift of what is asked from what the deployed model was taught, with a real snapshot file."""

from __future__ import annotations

import json
import random

import pytest
from django.utils import timezone

from finetune_engine.data.samples import SAMPLES
from web_kit.ids import new_id

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def clauses() -> list[str]:
    lines = SAMPLES["contract_clauses"].path.read_text().splitlines()
    found = [str(next(iter(json.loads(line).values()))) for line in lines if line.startswith("{")]
    found = [text for text in found if len(text) > 20]
    random.Random(3).shuffle(found)
    return found


@pytest.fixture
def taught(actor, project, trained, clauses, tmp_path, monkeypatch):
    """A deployment whose model was trained on a snapshot of contract clauses; its file lies where storage would copy it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datasets_app.models import Dataset, Snapshot, Upload
    from datasets_app.queries import snapshots
    from serving_app.operations import deploy_model

    rows = clauses[:900]
    splits = ["train"] * 800 + ["test"] * 100
    pq.write_table(pa.table({"prompt": rows, "split": splits}), tmp_path / "snapshot.parquet")
    monkeypatch.setattr(snapshots, "local_copy", lambda _prefix: tmp_path)
    upload = Upload.objects.create(
        project=project, name="c.jsonl", size=1, sha256="0" * 64, storage_name="uploads/none"
    )
    dataset = Dataset.objects.create(project=project, upload=upload, name="Clauses", task_type="classification")
    snapshot = Snapshot.objects.create(
        project=project, dataset=dataset, number=1, state="ready", storage_prefix="snapshots/x"
    )
    model = trained("Clause sorter")
    model.training_job.snapshot = snapshot
    model.training_job.save()
    return deploy_model(actor=actor, trained_model=model, sign_off="Tried by hand; good enough.")


@pytest.fixture
def asked(project, taught):
    from serving_app.models import Prediction

    def ask(questions, **changes):
        return Prediction.objects.bulk_create(
            Prediction(
                request_id=new_id(),
                project=project,
                deployment=taught,
                door="predict",
                model_name="m",
                question_text=question,
                latency_seconds=0.1,
                at=timezone.now(),
                **changes,
            )
            for question in questions
        )

    return ask


def look() -> int:
    from serving_app.operations import look_for_drift

    return look_for_drift()


def over(report) -> set[str]:
    return {finding["name"] for finding in report.findings if finding["is_over"]}


def test_questions_like_the_training_data_raise_nothing(asked, clauses) -> None:
    from serving_app.models import DriftReport

    asked(clauses[1_000:1_200])
    assert look() == 1
    report = DriftReport.objects.get()
    assert over(report) == set()
    assert report.questions == 200
    assert report.baseline["texts"] == 800  # train rows only


def test_other_questions_are_found_and_shown_with_examples(asked, client_for, viewer, project) -> None:
    from serving_app.models import DriftReport, Prediction

    rows = asked([f"qwertz uiopu asdfgh number{number} blorbish gnarl" for number in range(80)])
    look()
    report = DriftReport.objects.get()
    assert {"vocabulary", "unseen_words"} <= over(report)
    assert json.dumps(report.profile).count("blorbish") == 0
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch").content.decode()
    assert "The questions have moved away from the training data" in page
    assert "blorbish" in page
    Prediction.objects.filter(pk__in=[row.pk for row in rows]).delete()
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch").content.decode()
    assert "blorbish" not in page


def test_a_deployment_is_compared_every_six_hours_and_its_data_read_once(asked, clauses, monkeypatch) -> None:
    from serving_app.models import DriftReport
    from serving_app.operations import drift

    asked(clauses[1_000:1_100])
    assert [look(), look()] == [1, 0]
    DriftReport.objects.update(at=timezone.now() - drift.EVERY * 2)
    monkeypatch.setattr(drift, "training_questions", lambda *_: pytest.fail("the data was read again"))
    assert look() == 1


def test_what_came_from_a_cache_or_only_listened_is_not_compared(asked, clauses) -> None:
    asked(clauses[1_000:1_100], cached=True)
    asked(clauses[1_000:1_100], shadow_of="x")
    asked(clauses[1_000:1_040])
    assert look() == 0


def test_a_snapshot_that_is_gone_keeps_nobody_waiting(asked, clauses, taught) -> None:
    from datasets_app.models import Snapshot

    asked(clauses[1_000:1_100])
    Snapshot.objects.update(state="deleted")
    assert look() == 0


def test_less_confidence_than_when_it_was_judged_is_found(asked, clauses, taught, project, monkeypatch) -> None:
    from serving_app.histograms import CONFIDENCE_EDGES, counted
    from serving_app.models import DriftReport, Feedback, TrafficBucket
    from serving_app.operations import drift
    from serving_app.queries.drift import Judged

    monkeypatch.setattr(drift, "judged_before", lambda _deployment: Judged(0.9, 0.88, 400))
    rows = asked(clauses[1_000:1_100])
    at = timezone.now()
    TrafficBucket.objects.create(
        project=project,
        deployment_ref=taught.pk,
        model_name="m",
        start_at=at,
        confidence=counted([0.5] * 100, CONFIDENCE_EDGES),
    )
    for number, row in enumerate(rows[:40]):
        verdict = "bad" if number % 2 else "good"
        Feedback.objects.create(
            project=project,
            deployment=taught,
            prediction=row,
            request_id=row.request_id,
            model_name="m",
            verdict=verdict,
        )
    look()
    assert {"confidence", "acceptance"} <= over(DriftReport.objects.get())


def test_the_newest_evaluation_says_what_to_expect(taught, monkeypatch) -> None:
    from types import SimpleNamespace

    from serving_app.queries import drift

    bins = [{"n": 300, "confidence": 0.9, "accuracy": 0.8}, {"n": 100, "confidence": 0.5, "accuracy": 0.4}]
    report = {"quality": {"calibration": {"bins": bins}}}
    monkeypatch.setattr(drift, "latest_verdict", lambda _model: SimpleNamespace(report=report))
    before = drift.judged_before(taught)
    assert (before.confidence, before.right, before.n) == (pytest.approx(0.8), pytest.approx(0.7), 400)
