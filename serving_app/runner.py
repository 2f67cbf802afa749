"""How an export is carried in and out of its child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.urls import reverse

from datasets_app.choices import SnapshotState
from datasets_app.queries import snapshot_parquet
from evaluation_app.exports.model_card import model_card
from evaluation_app.queries import latest_verdict
from evaluation_app.queries.report.whole import whole_report
from finetune_engine.errors import EngineError
from finetune_engine.events import Event
from jobs_app.models import TrainedModel
from jobs_app.queries import model_files
from serving_app.models import ModelExport
from serving_app.operations.exports import KIND, keep_archive
from serving_app.queries.exports import exports_prefix
from work_kit import kinds
from work_kit.choices import Queue
from work_kit.files import delete_tree, file_sha256, store_file
from work_kit.models import Job

ASKED = 8
"""Questions of the model's own data that are put to the model and to its export."""


class ExportRun:
    """``serving.export``: writes a trained model as one archive and compares it with the served one."""

    name = KIND
    queue: str = Queue.GPU

    def page_url(self, job: Job) -> str:
        """Where the archives are listed."""
        return reverse("serving:exports", args=[job.project.slug])

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Bring the model to this machine and write the spec."""
        export = _export(job)
        base, adapter, _digest = model_files(export.trained_model.api_name, export.project)
        spec = {
            "name": export.trained_model.name,
            "kind": export.kind,
            "base_model": base,
            "adapter": str(adapter),
            "questions": _questions(export.trained_model),
            "card": _card(export.trained_model),
            "converter": settings.GGUF_CONVERTER or None,
        }
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
        return ["export", str(path), "--out", str(workdir / "out")]

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing is mirrored before the archive is whole."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Copy the archive to storage under a prefix of this attempt."""
        out = workdir / "out"
        archive, checks = out / "model.zip", out / "checks.json"
        if not archive.is_file() or not checks.is_file():
            raise EngineError("internal", "the export left no archive")
        prefix = f"{exports_prefix(job.project)}/{job.pk}/{job.attempt}"
        self._clear(prefix)  # this attempt may have begun to store it and lost the storage or the database
        return {
            "storage_name": store_file(archive, f"{prefix}/model.zip"),
            "size_bytes": archive.stat().st_size,
            "sha256": file_sha256(archive),
            "checks": json.loads(checks.read_text(encoding="utf-8")),
        }

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Put the archive into the export's row."""
        keep_archive(export_id=job.pk, **saved)
        return {"export": job.pk, "size_bytes": saved["size_bytes"]}

    def discard(self, job: Job, saved: dict[str, Any]) -> None:
        """The job was cancelled while its archive was being stored."""
        self._clear(f"{exports_prefix(job.project)}/{job.pk}")

    def tidy(self, job: Job) -> None:
        """Only the archive that the row names stays in the storage, not what attempts that died had begun to store."""
        export = ModelExport.objects.filter(pk=job.pk).first()
        prefix = f"{exports_prefix(job.project)}/{job.pk}"
        if export is None or not export.storage_name:
            self._clear(prefix)
            return
        for attempt in default_storage.listdir(prefix)[0]:
            if not export.storage_name.startswith(f"{prefix}/{attempt}/"):
                self._clear(f"{prefix}/{attempt}")

    def ended(self, job: Job) -> None:
        """The export shows the job's own state; there is nothing to mark."""

    def _clear(self, prefix: str) -> None:
        try:
            delete_tree(prefix)
        except FileNotFoundError:
            pass


def _export(job: Job) -> ModelExport:
    return ModelExport.objects.select_related("project", "trained_model__training_job__snapshot").get(pk=job.pk)


def _questions(model: TrainedModel) -> list[list[dict[str, str]]] | None:
    """Conversations of the model's own data that it did not learn from; None where there are none to ask."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    snapshot = model.training_job.snapshot
    if snapshot is None or snapshot.state != SnapshotState.READY:
        return None
    table = pq.read_table(snapshot_parquet(snapshot), columns=["split", "messages"])
    rows = table.filter(pc.not_equal(table["split"], "train")) or table
    asked = (rows if rows.num_rows else table).slice(0, ASKED)["messages"].to_pylist()
    questions = [_question(json.loads(messages)) for messages in asked]
    return [question for question in questions if question] or None


def _question(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What stands before the last answer."""
    return [{"role": turn["role"], "content": turn["content"] or ""} for turn in messages[:-1]]


def _card(model: TrainedModel) -> str:
    """The model card of the newest evaluation; empty for a model that was never judged."""
    evaluation = latest_verdict(model)
    return model_card(whole_report(evaluation)) if evaluation is not None else ""


def register() -> None:
    """Make the kind known to the job engine."""
    kinds.register(ExportRun())
