"""Datasets that several tests start from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile


def clause_lines(n: int) -> list[dict[str, str]]:
    """``n`` different clauses with three labels in turn."""
    labels = ["Termination", "Payment", "Confidentiality"]
    return [
        {
            "text": f"Clause {i}: the party of the {i}th part shall within {i + 3} days of notice {i * 7} do thing {i}.",
            "label": labels[i % 3],
        }
        for i in range(n)
    ]


@pytest.fixture
def upload_of() -> Callable[..., SimpleUploadedFile]:
    """``upload_of("a.jsonl", rows_or_bytes)``: a file as a browser sends it."""

    def make(name: str, content: bytes | list[Any]) -> SimpleUploadedFile:
        if not isinstance(content, bytes):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode()
        return SimpleUploadedFile(name, content)

    return make


@pytest.fixture
def quick_jobs(db, tmp_path) -> Callable[[], None]:
    """``quick_jobs()``: does waiting data jobs in this process, with the same kinds and the same engine, without the
    seconds that a child process needs to start. ``run_jobs`` is the real thing."""
    from finetune_engine.data import commands
    from finetune_engine.errors import UserError
    from finetune_engine.events import ListSink
    from finetune_engine.ports import Run
    from work_kit.choices import State
    from work_kit.kinds import kind_of
    from work_kit.models import Job

    def run() -> None:
        parser = argparse.ArgumentParser()
        commands.add_arguments(parser.add_subparsers())
        for job in Job.objects.filter(state=State.QUEUED).order_by("id"):
            kind, workdir = kind_of(job.kind), tmp_path / job.pk
            (workdir / "out").mkdir(parents=True)
            job.attempt = 1
            try:
                arguments = parser.parse_args(kind.prepare(job, workdir))
                arguments.func(arguments, Run(ListSink()))
                job.result = kind.commit(job, kind.save(job, workdir))
                job.state = State.SUCCEEDED
            except UserError as error:
                job.state, job.failure_reason, job.failure = State.FAILED, error.reason, error.as_dict()
                kind.ended(job)
            job.save()

    return run


@pytest.fixture
def dataset_from(actor, quick_jobs, upload_of) -> Callable[..., Any]:
    """``dataset_from("a.jsonl", rows)``: the dataset after its import has ended, well or not."""
    from datasets_app import operations
    from datasets_app.models import Dataset

    def make(file_name: str, content: bytes | list[Any], **options: Any) -> Dataset:
        file = upload_of(file_name, content)
        upload = operations.store_upload(actor=actor, file=file, name=file_name)
        dataset = operations.create_dataset(actor=actor, upload=upload, **options)
        quick_jobs()
        return Dataset.objects.select_related("upload", "job", "project").get(pk=dataset.pk)

    return make


@pytest.fixture
def clauses(dataset_from):
    """Sixty good rows, one exact duplicate (row 61), one without an answer (row 62)."""
    rows = clause_lines(60)
    return dataset_from(
        "clauses.jsonl", [*rows, rows[4], {"text": "A clause that nobody has labelled yet.", "label": ""}]
    )


@pytest.fixture
def bare_dataset(actor, upload_of):
    """A dataset that counts as ready, without rows: for questions of permission."""
    from datasets_app import operations
    from datasets_app.models import Dataset

    upload = operations.store_upload(
        actor=actor, file=upload_of("bare.jsonl", [{"text": "a", "label": "b"}]), name="bare"
    )
    return Dataset.objects.create(
        project=actor.project, name="Bare", upload=upload, state="ready", import_attempt=1, task_type="classification"
    )


@pytest.fixture
def freeze(actor, quick_jobs) -> Callable[..., Any]:
    """``freeze(dataset, seed=7)``: the snapshot after its job has ended, well or not."""
    from datasets_app import operations
    from datasets_app.models import Snapshot

    def make(dataset: Any, **options: Any) -> Any:
        snapshot = operations.create_snapshot(actor=actor, dataset=dataset, **options)
        quick_jobs()
        return Snapshot.objects.select_related("dataset").get(pk=snapshot.pk)

    return make
