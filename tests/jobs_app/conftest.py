"""Data and jobs that the training tests start from. The quick ones make rows; ``frozen`` runs the real import."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

LABELS = ["Termination", "Payment", "Confidentiality"]


def clause_lines(n: int) -> list[dict[str, str]]:
    """``n`` different clauses, three labels in turn."""
    return [
        {
            "text": f"Clause {i}: the party shall within {i + 3} days of notice {i * 7} do thing {i}.",
            "label": LABELS[i % 3],
        }
        for i in range(n)
    ]


@pytest.fixture
def upload(project, owner):
    """The record of an uploaded file (without bytes)."""
    from datasets_app.models import Upload

    return Upload.objects.create(
        project=project, name="clauses.jsonl", size=10, sha256="0" * 64, storage_name="uploads/none", created_by=owner
    )


@pytest.fixture
def dataset(project, upload):
    """A checked dataset of 50 rows, 40 of them usable."""
    from datasets_app.models import Dataset

    return Dataset.objects.create(
        project=project,
        upload=upload,
        name="Contract clauses",
        state="ready",
        task_type="classification",
        total=50,
        accepted=38,
        flagged=2,
        needs_review=4,
        rejected=6,
        import_attempt=1,
    )


@pytest.fixture
def snapshot(project, dataset):
    """A frozen snapshot of it (without its file)."""
    from datasets_app.models import Snapshot

    return Snapshot.objects.create(
        project=project,
        dataset=dataset,
        number=1,
        state="ready",
        task_type="classification",
        sha256="1" * 64,
        counts={"train": 32, "validation": 4, "test": 4},
        storage_prefix="snapshots/none",
    )


@pytest.fixture
def start(actor, snapshot) -> Callable[..., Any]:
    """``start(**changes)``: a training in the queue."""
    from jobs_app.operations import start_training

    def make(**changes: Any) -> Any:
        values = {"actor": actor, "name": "Clauses", "base_model_key": "demo-base", "snapshot": snapshot, "spec": {}}
        return start_training(**(values | changes))

    return make


@pytest.fixture
def trained(start):
    """A training that has succeeded, with its model (without files)."""
    from jobs_app.models import TrainedModel
    from jobs_app.queries import api_name
    from work_kit.models import Job

    training = start(suffix="clauses")
    Job.objects.filter(pk=training.pk).update(state="succeeded", phase="done")
    training.work.refresh_from_db()
    return TrainedModel.objects.create(
        project=training.project,
        training_job=training,
        name=training.name,
        base_model_key="demo-base",
        api_name=api_name(training),
        storage_prefix=f"projects/{training.project_id}/models/{training.pk}-1",
        manifest_sha256="2" * 64,
        size_bytes=1234,
        metrics={"valid_loss": 0.5, "trained_tokens": 900},
        run={"versions": {"torch": "2"}},
    )


@pytest.fixture
def clauses_upload(actor) -> Callable[..., Any]:
    """``clauses_upload(n)``: a real file with ``n`` clauses, taken in as ``/v1/files`` does."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from datasets_app.operations import store_upload

    def make(n: int = 60, name: str = "clauses.jsonl") -> Any:
        content = "".join(json.dumps(row) + "\n" for row in clause_lines(n)).encode()
        return store_upload(actor=actor, file=SimpleUploadedFile(name, content), name=name)

    return make


@pytest.fixture
def headers(api_key) -> dict[str, str]:
    """What a program with the scopes read and train sends."""
    return {"Authorization": f"Bearer {api_key('read', 'train')}"}
