"""An evaluation whose answers say how sure the model was, and answers of a model in use."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone


def judged_evaluation(model: Any, *, n: int = 1_200, seed: int = 3, with_confidence: bool = True) -> Any:
    """A finished evaluation of ``model``: ``n`` answers of an overconfident model, in a real file of samples."""
    import polars as pl

    from datasets_app.models import Dataset, Snapshot, Upload
    from evaluation_app.models import Evaluation
    from work_kit.models import Job

    project = model.project
    upload = Upload.objects.create(
        project=project, name="c.jsonl", size=1, sha256="0" * 64, storage_name="uploads/none"
    )
    dataset = Dataset.objects.create(project=project, upload=upload, name="Contract clauses", state="ready")
    snapshot = Snapshot.objects.create(
        project=project, dataset=dataset, number=1, state="ready", task_type="classification", sha256="1" * 64,
        counts={"test": n}, storage_prefix="snapshots/none",
    )  # fmt: skip
    work = Job.objects.create(
        project=project, kind="evaluation.run", queue="gpu", title="x", state="succeeded", available_at=timezone.now()
    )
    draw = np.random.default_rng(seed)
    sure = draw.beta(4, 1.2, n)
    right = draw.random(n) < 0.2 + 0.79 * sure**2
    columns = {
        "row": list(range(1, n + 1)),
        "prompt": [f"question {row}" for row in range(n)],
        "reference": ["Payment"] * n,
        "group": pl.Series([None] * n, dtype=pl.String),
        "tuned_answer": ["Payment"] * n,
        "tuned_correct": right.tolist(),
    }
    if with_confidence:
        columns["tuned_confidence"] = sure.tolist()
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    name = default_storage.save(f"evaluations/{work.pk}/1/samples.parquet", ContentFile(file.getvalue()))
    return Evaluation.objects.create(
        id=work.pk, project=project, trained_model=model, snapshot=snapshot, work=work, cases=n, samples_name=name
    )


def asked(project: Any, number: int = 1, **fields: Any) -> Any:
    """A logged answer that waits for a person."""
    from serving_app.models import Prediction

    values: dict[str, Any] = {
        "request_id": f"request{number:019d}",
        "project": project,
        "door": "predict",
        "model_name": "ft:demo-base:contract-desk:clauses:01h",
        "input": {"messages": [{"role": "user", "content": f"Which clause is number {number}?"}]},
        "question_text": f"Which clause is number {number}?",
        "output": "Payment",
        "latency_seconds": 0.1,
        "confidence": 0.6,
        "calibrated": 0.41,
        "needs_human": True,
        "at": timezone.now(),
    }
    return Prediction.objects.create(**values | fields)


def deployed(model: Any, **fields: Any) -> Any:
    """``model`` in use as production."""
    from serving_app.models import Deployment

    values = {"project": model.project, "trained_model": model, "model_name": model.api_name}
    return Deployment.objects.create(**values | fields)
