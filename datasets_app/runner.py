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
from datasets_app.bulk import insert_rows
from datasets_app.choices import DatasetState, Decision
from datasets_app.models import Dataset, Example, Finding, Snapshot
from datasets_app.operations import imports, snapshots
from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event
from work_kit.choices import Queue, State
from work_kit.files import MANIFEST, fetch_to, file_sha256, store_tree
from work_kit.kinds import register as register_kind
from work_kit.models import Job

_EXAMPLE_FIELDS = (
    "dataset", "import_attempt", "row", "status", "checked_status", "codes", "chunk", "offset", "label", "split",
    "prompt_head", "answer_head", "content_hash", "decision",
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

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Fetch the upload and write the options."""
        dataset = _dataset_of(job)
        if dataset.upload.deleted_at is not None:
            raise UserError("upload_deleted", "The uploaded file was deleted before it was checked. Upload it again.")
        _clear(workdir / "out")
        ending = _KEPT_ENDING.search(dataset.upload.name)
        source = workdir / f"upload{ending.group(0).lower() if ending else ''}"
        if not source.exists():
            fetch_to(source, dataset.upload.storage_name)
        options = workdir / "options.json"
        options.write_text(json.dumps({"name": dataset.upload.name, **dataset.options}))
        return ["prepare", str(source), "--out", str(workdir / "out"), "--options", str(options)]

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
        imports.forget_other_attempts(dataset)
        insert_rows(Example, _EXAMPLE_FIELDS, _example_rows(dataset, job.attempt, out, report["chunks"]))
        insert_rows(Finding, _FINDING_FIELDS, _finding_rows(dataset, job.attempt, out))
        for source in workdir.glob("upload*"):
            source.unlink()
        report.pop("preview", None)
        return {"report": report, "prefix": prefix}

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Make the rows visible."""
        if imports.finish_import(job=job, report=saved["report"], storage_prefix=saved["prefix"]) is None:
            imports.discard_import(job=job, storage_prefix=saved["prefix"])
        return {"dataset": job.params["dataset"], "counts": saved["report"]["counts"]}

    def ended(self, job: Job) -> None:
        """The dataset could not be made; the upload is kept."""
        imports.fail_import(job=job, error=_error_of(job, "The check was cancelled. The uploaded file is kept."))
        imports.discard_import(job=job)


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


def _example_rows(dataset: Dataset, attempt: int, out: Path, names: list[str]) -> Iterator[tuple[Any, ...]]:
    for number, name in enumerate(names):
        for offset, head in enumerate(chunks.heads(out / PurePosixPath(name).name)):
            yield (
                dataset.pk, attempt, head.row, head.status, head.status, json.dumps(head.codes), number, offset,
                head.label, head.split, head.prompt, head.answer, head.content_hash, Decision.NONE.value,
            )  # fmt: skip


def _finding_rows(dataset: Dataset, attempt: int, out: Path) -> Iterator[tuple[Any, ...]]:
    for f in chunks.findings(out / "findings.parquet"):
        yield (
            dataset.pk, attempt, f["row"], f["code"][:40], f.get("kind") or "", f["severity"][:8], _plain(f["message"]),
            _plain(f["column"])[:200], f["start"], f["end"], _plain(f["found"]), _plain(f["expected"]),
            _plain(f["fix"]), f["related_row"],
        )  # fmt: skip


def _plain(text: str | None) -> str:
    return (text or "").replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL stores no NUL


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
