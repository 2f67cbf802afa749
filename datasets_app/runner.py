"""What the two kinds of data job carry in and out of the engine: ``datasets.import`` and ``datasets.snapshot``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from datasets_app import chunks, queries
from datasets_app.bulk import insert_columns
from datasets_app.choices import DatasetState, Decision
from datasets_app.models import Dataset, Example, Finding, Snapshot, Source
from datasets_app.operations import import_results, imports, snapshots
from datasets_app.operations.import_settings import engine_options
from finetune_engine.errors import EngineError, Place, UserError
from finetune_engine.events import Event
from work_kit.choices import Queue, State
from work_kit.files import MANIFEST, fetch_to, file_sha256, store_tree
from work_kit.kinds import register as register_kind
from work_kit.models import Job

_EXAMPLE_FIELDS = (
    "dataset", "import_attempt", "row", "status", "checked_status", "codes", "chunk", "offset", "label", "split",
    "prompt_head", "answer_head", "content_hash", "cluster", "decision",
)  # fmt: skip
_FINDING_FIELDS = (
    "dataset", "import_attempt", "row", "code", "kind", "severity", "message", "column", "start", "end", "found", "expected",
    "fix", "related_row",
)  # fmt: skip
_KEPT_ENDING = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")


class ImportKind:
    """Checks an upload: the child writes chunks, findings and a report; the rows become visible with the commit."""

    name = imports.IMPORT_KIND
    queue = Queue.CPU
    is_confined = True

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Fetch the uploads and write the options: of each file its own, and those for all of them."""
        dataset = _dataset_of(job)
        _clear(workdir / "out")
        paths, readings = [], []
        for source, reading in import_results.sources_to_read(job=job, dataset=dataset):
            paths.append(_fetched(source, workdir))
            readings.append({"name": source.upload.name, **reading})
        options = engine_options(job.params.get("options") or dataset.options)
        options |= readings[0] if len(readings) == 1 else {"name": dataset.name, "sources": readings}
        path = workdir / "options.json"
        path.write_text(json.dumps(options))
        return ["prepare", *map(str, paths), "--out", str(workdir / "out"), "--options", str(path)]

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing to mirror: the page reads the job."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Store chunks, findings and report; insert the rows of this attempt, which nobody sees yet."""
        out = workdir / "out"
        report: dict[str, Any] = _json(out / "report.json")
        dataset = _dataset_of(job)
        names = [*report["chunks"], "findings.parquet", "report.json"]
        prefix = f"datasets/{dataset.pk}/{job.pk}-{job.attempt}"
        _store(workdir / "store", {name: out / name for name in names}, prefix)
        import_results.forget_other_attempts(dataset)
        attempt = imports.attempt_number(job)
        insert_columns(Example, _EXAMPLE_FIELDS, _example_rows(dataset, attempt, out, report["chunks"]))
        insert_columns(Finding, _FINDING_FIELDS, _finding_rows(dataset, attempt, out))
        for source in workdir.glob("upload*"):
            source.unlink()
        report.pop("preview", None)
        return {"report": report, "prefix": prefix}

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Make the rows visible, with what people decided about them."""
        dataset = import_results.finish_import(job=job, report=saved["report"], storage_prefix=saved["prefix"])
        if dataset is None:
            import_results.discard_import(job=job)
        return {"dataset": job.params["dataset"], "counts": dataset.counts if dataset else saved["report"]["counts"]}

    def ended(self, job: Job) -> None:
        """The check did not end well; the uploads are kept, and so is what was visible."""
        import_results.fail_import(job=job, error=_error_of(job, "The check was cancelled. The uploaded file is kept."))
        import_results.discard_import(job=job)


class SnapshotKind:
    """Freezes a dataset: chunks plus people's decisions in, one hashed Parquet file out."""

    name = snapshots.SNAPSHOT_KIND
    queue = Queue.CPU

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Bring the chunks and the decisions together and write the spec."""
        snapshot = _snapshot_of(job)
        dataset = snapshot.dataset
        if dataset.state != DatasetState.READY or dataset.deleted_at is not None:
            raise UserError("dataset_not_ready", "The dataset was deleted before it could be frozen.")
        _clear(workdir / "out")
        folder = chunks.chunk_folder(dataset)
        overrides = workdir / "overrides.jsonl"
        changed = _write_overrides(dataset, overrides)
        before = queries.previous_snapshot(snapshot)
        spec = {
            "chunks": [str(folder / name) for name in dataset.chunks],
            "overrides": str(overrides) if changed else None,
            "split": snapshot.split,
            "seed": snapshot.seed,
            "stratify_by": snapshot.stratify_by or None,
            "group_by": snapshot.group_by or None,
            "task_type": snapshot.task_type,
            "frozen_test": str(queries.snapshot_parquet(before)) if before else None,
            "pii": snapshot.pii,
            "earlier": [str(queries.snapshot_parquet(one)) for one in queries.earlier_snapshots(snapshot)],
        }
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec))
        return ["snapshot", str(path), "--out", str(workdir / "out")]

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing to mirror."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Store the frozen file and what describes it."""
        out = workdir / "out"
        manifest: dict[str, Any] = _json(out / MANIFEST)
        snapshot = _snapshot_of(job)
        prefix = f"snapshots/{snapshot.pk}/{job.pk}-{job.attempt}"
        files = {"snapshot.parquet": out / "snapshot.parquet", "snapshot.json": out / MANIFEST}
        _store(workdir / "store", files, prefix)
        return {"manifest": manifest, "prefix": prefix}

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """The snapshot is ready."""
        snapshots.finish_snapshot(job=job, manifest=saved["manifest"], storage_prefix=saved["prefix"])
        return {"snapshot": job.params["snapshot"], "counts": saved["manifest"]["counts"]}

    def ended(self, job: Job) -> None:
        """The snapshot could not be made."""
        snapshots.fail_snapshot(job=job, error=_error_of(job, "The freezing was cancelled."))


def register() -> None:
    """Make both kinds known to the job engine."""
    register_kind(ImportKind())
    register_kind(SnapshotKind())


def _dataset_of(job: Job) -> Dataset:
    try:
        return Dataset.objects.select_related("upload").get(pk=job.params["dataset"], project_id=job.project_id)
    except ObjectDoesNotExist as error:
        raise UserError("dataset_deleted", "The dataset was deleted.") from error


def _snapshot_of(job: Job) -> Snapshot:
    try:
        return Snapshot.objects.select_related("dataset").get(pk=job.params["snapshot"], project_id=job.project_id)
    except ObjectDoesNotExist as error:
        raise UserError("snapshot_deleted", "The snapshot was deleted.") from error


def _fetched(source: Source, workdir: Path) -> Path:
    """The file of a source in the work folder, under its own ending. Raises UserError when its bytes were deleted."""
    if source.upload.deleted_at is not None:
        raise UserError(
            "upload_deleted",
            f"The file {source.upload.name} was deleted before it was checked. Upload it again.",
            place=Place(file=source.upload.name),
        )
    ending = _KEPT_ENDING.search(source.upload.name)
    path = workdir / f"upload-{source.number:03d}{ending.group(0).lower() if ending else ''}"
    return path if path.exists() else fetch_to(path, source.upload.storage_name)


def _error_of(job: Job, cancelled: str) -> dict[str, Any]:
    if job.state == State.CANCELLED:
        return {"code": "cancelled", "message": cancelled}
    failure = {key: v[:2_000] if isinstance(v, str) else v for key, v in job.failure.items()}
    return failure if failure.get("message") else {"code": job.failure_reason, "message": "Something went wrong."}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise EngineError("internal", f"the engine ended well but left no readable {path.name}") from error


def _clear(out: Path) -> None:
    """An earlier attempt on this host may have left results; the control file stays."""
    for path in [*out.glob("*.parquet"), out / "report.json", out / MANIFEST]:
        path.unlink(missing_ok=True)


def _store(staging: Path, files: dict[str, Path], prefix: str) -> None:
    """Store these files under the prefix with a manifest of their sizes and hashes, which comes last."""
    staging.mkdir(exist_ok=True)
    for old in staging.iterdir():
        old.unlink()
    described: dict[str, dict[str, Any]] = {}
    for name, path in files.items():
        if not path.is_file():
            raise EngineError("internal", f"the engine ended well but left no {name}")
        os.link(path, staging / name)
        described[name] = {"size": path.stat().st_size, "sha256": file_sha256(path)}
    (staging / MANIFEST).write_text(json.dumps({"files": described}, sort_keys=True))
    store_tree(staging, prefix)


def _example_rows(dataset: Dataset, attempt: int, out: Path, names: list[str]) -> Iterator[chunks.Columns]:
    from pyarrow import array

    shared = {"dataset": dataset.pk, "import_attempt": attempt, "decision": Decision.NONE.value}
    for number, name in enumerate(names):
        offset = 0
        for heads in chunks.heads(out / PurePosixPath(name).name):
            count = len(heads["row"])
            yield heads | shared | {"chunk": number, "offset": array(range(offset, offset + count))}
            offset += count


def _finding_rows(dataset: Dataset, attempt: int, out: Path) -> Iterator[chunks.Columns]:
    shared = {"dataset": dataset.pk, "import_attempt": attempt}
    return (columns | shared for columns in chunks.findings(out / "findings.parquet"))


def _write_overrides(dataset: Dataset, path: Path) -> int:
    decided = Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt).exclude(decision="")
    written = 0
    with open(path, "w") as file:
        for example in decided.order_by("row").iterator(2_000):
            line: dict[str, Any] = {"row": example.row, "status": example.status}
            if example.edited_messages is not None:
                line["messages"] = example.edited_messages
            if example.edited_label is not None:
                line["label"] = example.edited_label
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            written += 1
    return written
