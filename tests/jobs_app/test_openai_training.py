"""What is asked for through OpenAI's call is what the child process really does."""

from __future__ import annotations

import json

import pytest

from datasets_app.operations import create_dataset
from jobs_app.models import TrainingJob

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_all_of_the_training_file_is_learnt_and_all_of_the_validation_file_is_used_to_check(
    actor, clauses_upload, client, headers, run_jobs
):
    learnt = create_dataset(actor=actor, upload=clauses_upload(40), name="Learnt")
    checked = create_dataset(actor=actor, upload=clauses_upload(12, "check.jsonl"), name="Checked")
    run_jobs()
    learnt.refresh_from_db()
    checked.refresh_from_db()
    body = {
        "model": "demo-base",
        "training_file": f"file-{learnt.upload_id}",
        "validation_file": f"file-{checked.upload_id}",
        "hyperparameters": {"n_epochs": 1, "batch_size": 8},
        "training": {"max_length": 64},
    }
    job = client.post("/v1/fine_tuning/jobs", json.dumps(body), content_type="application/json", headers=headers).json()
    run_jobs()
    training = TrainingJob.objects.get()
    assert training.work.state == "succeeded", training.work.failure
    run = training.trained_models.get().run
    assert training.snapshot.counts["train"] == learnt.usable
    assert training.validation_snapshot.total == checked.usable
    assert run["validation"]["sha256"] == training.validation_snapshot.sha256
    rows = client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints", headers=headers).json()["data"]
    assert rows[0]["metrics"]["full_valid_loss"] > 0
