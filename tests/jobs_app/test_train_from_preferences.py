"""Pairs of answers, an earlier model and validation data of their own, through the real supervisor and child process."""

from __future__ import annotations

import json

import pytest

from datasets_app.operations import create_dataset
from jobs_app import queries
from jobs_app.models import TrainedModel
from jobs_app.operations import start_training
from tests.jobs_app.conftest import LABELS, clause_lines
from work_kit.models import JobEvent

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_length": 64}


@pytest.fixture
def upload_of(actor):
    """``upload_of(rows, name)``: rows as a JSON Lines file, taken in as ``/v1/files`` does."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from datasets_app.operations import store_upload

    def make(rows, name):
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return store_upload(actor=actor, file=SimpleUploadedFile(name, content), name=name)

    return make


def pairs(n: int) -> list[dict[str, str]]:
    return [
        {"prompt": row["text"], "chosen": row["label"], "rejected": LABELS[(i + 1) % 3]}
        for i, row in enumerate(clause_lines(n))
    ]


def test_pairs_are_learnt_from_and_their_model_is_gone_on_from_with_data_to_check_with(actor, upload_of, run_jobs):
    data = create_dataset(actor=actor, upload=upload_of(pairs(24), "pairs.jsonl"), name="Pairs")
    first = start_training(
        actor=actor, name="First", base_model_key="demo-base", dataset=data, spec=QUICK | {"method": "dpo"}
    )
    run_jobs()
    first.work.refresh_from_db()
    assert first.work.state == "succeeded", (first.work.failure_reason, first.work.failure)
    metrics = [event.data for event in JobEvent.objects.filter(job_id=first.pk, kind="metric").order_by("id")]
    assert "rewards_margin" in metrics[-1]
    assert metrics[-1]["memory_bytes"] > 0

    parent = TrainedModel.objects.get()
    others = create_dataset(actor=actor, upload=upload_of(pairs(30)[24:], "check.jsonl"), name="Check")
    second = start_training(
        actor=actor,
        name="Second",
        base_model_key="demo-base",
        dataset=data,
        spec=QUICK | {"method": "dpo"},
        parent_model=parent,
        validation_dataset=others,
    )
    run_jobs()
    second.work.refresh_from_db()
    assert second.work.state == "succeeded", (second.work.failure_reason, second.work.failure)
    model = TrainedModel.objects.exclude(pk=parent.pk).get()
    assert model.run["continued_from"] == parent.manifest_sha256
    assert sum(model.run["validation"]["counts"].values()) == 6
    files = queries.model_files(model.api_name, model.project)
    assert list((files.adapter / "tensorboard").glob("events.*"))
