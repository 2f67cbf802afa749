"""One real evaluation: real import, real training of a few steps, real child process, real report."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

pytestmark = pytest.mark.django_db(transaction=True)
LABELS = ["Termination", "Payment", "Confidentiality"]


def test_a_trained_model_is_judged_beside_its_base(actor, run_jobs, client, api_key) -> None:
    from datasets_app.operations import create_dataset, store_upload
    from evaluation_app.operations import start_evaluation
    from jobs_app.models import TrainedModel
    from jobs_app.operations import start_training

    rows = [
        {"text": f"Clause {i}: the party shall within {i + 3} days do {i}.", "label": LABELS[i % 3]} for i in range(60)
    ]
    file = SimpleUploadedFile("clauses.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    dataset = create_dataset(actor=actor, upload=store_upload(actor=actor, file=file, name=file.name), name="Clauses")
    start_training(
        actor=actor, name="Clauses", base_model_key="demo-base", dataset=dataset, spec={"num_train_epochs": 1}
    )
    run_jobs()
    model = TrainedModel.objects.get()

    evaluation = start_evaluation(actor=actor, trained_model=model)
    run_jobs()
    evaluation.refresh_from_db()
    assert evaluation.work.state == "succeeded", evaluation.work.failure
    assert evaluation.verdict in {"ship", "do_not_ship", "more_cases"}
    assert evaluation.verdict_sentence == evaluation.report["verdict"]["sentence"]
    assert evaluation.report["n"] == evaluation.snapshot.counts["test"]
    assert {entry["key"] for entry in evaluation.report["models"]} == {"base", "tuned"}
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    samples = client.get(f"/api/v1/evaluations/{evaluation.pk}/samples", headers=headers).json()["data"]
    assert len(samples) == evaluation.report["n"]
    assert {row["reference"] for row in samples} <= set(LABELS)
